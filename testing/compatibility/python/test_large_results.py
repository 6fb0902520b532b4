"""Results that are larger than what the coordinator may keep of them, and clients that go away amid them."""

import threading
import time

import requests

from support import Case, Cluster

MEGABYTE = 1 << 20
ROWS = 1_000_000
# Pages, buffers and what the allocator holds back; well below the 200 MB of text that pass through.
GROWTH_MAX = 128 * MEGABYTE


class LargeResults(Case):
    """A result of a million rows."""

    def test_a_million_rows_do_not_grow_the_coordinator(self):
        # Wide rows, so that a coordinator that kept them would be told from one that keeps a page.
        select = "SELECT orderkey, repeat(comment, 8) FROM tpch.sf1.lineitem"
        sql = f"{select} LIMIT {ROWS}"
        # Once before it is measured, so that what is loaded once is loaded.
        self.assertEqual(len(self.rows(f"{select} LIMIT 100000")), 100_000)
        before = self.cluster.resident_bytes()
        peak = Peak(self.cluster)
        with peak:
            count, text_bytes = 0, 0
            cursor = self.connect().cursor()
            cursor.execute(sql)
            while rows := cursor.fetchmany(10_000):
                count += len(rows)
                text_bytes += sum(len(row[1]) for row in rows)
        after = self.cluster.resident_bytes()
        figures = f"{before / MEGABYTE:.0f} MB before, {peak.bytes / MEGABYTE:.0f} MB at most, {after / MEGABYTE:.0f} MB after"
        print(f"\n{count} rows, {text_bytes / MEGABYTE:.0f} MB of text; coordinator: {figures}")
        self.assertEqual(count, ROWS)
        self.assertGreater(text_bytes, 200 * MEGABYTE)
        self.assertLess(peak.bytes - before, GROWTH_MAX, figures)
        self.assertLess(after - before, GROWTH_MAX, figures)
        self.assert_clean()

    def test_a_page_is_the_same_when_it_is_asked_for_again(self):
        answer = requests.post(
            self.cluster.server + "/v1/statement",
            data="SELECT orderkey, comment FROM tpch.tiny.lineitem",
            headers={"X-Trino-User": "python"},
            timeout=10,
        )
        page, before, pages_with_rows = answer.json(), None, 0
        while "nextUri" in page:
            uri = page["nextUri"]
            page = requests.get(uri, timeout=10).json()
            again = requests.get(uri, timeout=10).json()
            self.assertEqual(again.get("data"), page.get("data"))
            self.assertEqual(again.get("nextUri"), page.get("nextUri"))
            pages_with_rows += "data" in page
            if before is not None and "/executing/" in before:
                self.assertEqual(requests.get(before, timeout=10).status_code, 410)
            before = uri
        self.assertGreater(pages_with_rows, 1)


class ClientsThatGoAway(Case):
    """A client that is gone amid its result, on a cluster that waits for two seconds only."""

    cluster = Cluster("impatient")

    def leave(self, pages_with_rows):
        """Fetches so many pages with rows, and closes the connection. The query's id."""
        with requests.Session() as session:
            page = session.post(
                self.cluster.server + "/v1/statement",
                data="SELECT orderkey, comment FROM tpch.sf1.lineitem",
                headers={"X-Trino-User": "python"},
                timeout=10,
            ).json()
            while pages_with_rows > 0:
                page = session.get(page["nextUri"], timeout=10).json()
                pages_with_rows -= "data" in page
            return page["id"]

    def check_abandoned(self, query_id):
        document = self.wait(10, lambda: self.ended(query_id))
        self.assertEqual((document["state"], document["errorCode"]["name"]), ("FAILED", "ABANDONED_QUERY"))
        self.assertEqual(document["errorCode"]["code"], 2)
        # Its outcome is kept for half a minute, because nobody was told.
        self.assert_clean(within_seconds=60)

    def ended(self, query_id):
        document = self.cluster.document(f"/v1/query/{query_id}")
        return document if document["state"] in ("FAILED", "FINISHED") else None

    def test_a_query_is_abandoned_amid_its_result(self):
        self.check_abandoned(self.leave(2))

    def test_a_query_is_abandoned_before_it_is_begun(self):
        self.check_abandoned(self.leave(0))

    def test_a_client_that_asks_keeps_its_query(self):
        cursor = self.connect().cursor()
        cursor.execute("SELECT count(*) FROM tpch.sf1.lineitem")
        self.assertEqual(cursor.fetchall(), [[6_001_215]])


class Peak:
    """The most memory that the coordinator has while this is entered, looked at every few milliseconds."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.bytes = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.ended.is_set():
            self.bytes = max(self.bytes, self.cluster.resident_bytes())
            time.sleep(0.01)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
