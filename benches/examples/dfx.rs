//! scratch
use datafusion::prelude::*;
use std::time::Instant;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().unwrap();
    let runs: usize = args.next().unwrap().parse().unwrap();
    let threads: usize = args.next().unwrap().parse().unwrap();
    let mut sqls = vec![];
    let mut config = SessionConfig::new().with_target_partitions(threads);
    let mut explain = false;
    for a in args {
        if a == "explain" {
            explain = true;
            continue;
        }
        match a.strip_prefix("--set=") {
            Some(kv) => {
                let (k, v) = kv.split_once('=').unwrap();
                config.options_mut().set(k, v).unwrap();
            }
            None => sqls.push(if a.ends_with(".sql") { std::fs::read_to_string(a).unwrap() } else { a }),
        }
    }
    let ctx = SessionContext::new_with_config(config);
    for t in ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"] {
        ctx.register_parquet(t, format!("{dir}/{t}"), ParquetReadOptions::default()).await.unwrap();
    }
    for sql in sqls {
        let mut best = (f64::MAX, f64::MAX);
        for _ in 0..runs {
            let c = cpu();
            let t = Instant::now();
            let r = ctx.sql(&sql).await.unwrap().collect().await.unwrap();
            let (w, c) = (t.elapsed().as_secs_f64(), cpu() - c);
            best = (best.0.min(w), best.1.min(c));
            let _ = r;
        }
        println!("wall {:.3} cpu {:.3} {}", best.0, best.1, &sql[..sql.len().min(90)].replace('\n', " "));
        if explain {
            let r = ctx.sql(&format!("explain analyze {sql}")).await.unwrap().collect().await.unwrap();
            println!("{}", datafusion::arrow::util::pretty::pretty_format_batches(&r).unwrap());
        }
    }
}
