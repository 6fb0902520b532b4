use super::*;
use crate::direct::ConsumerId;
use base::{AttemptId, Epoch, StageId, TaskId};
use std::ops::Range;

pub(super) fn slice(consumer: u64, partitions: Range<u32>) -> OutputSlice {
    let query = "20261120_061411_00007_abcde".parse().unwrap();
    let task = TaskId { query, stage: StageId(1), partition: 0 };
    let producer = AttemptId { task, generation: 0, epoch: Epoch(0), number: 0 };
    OutputSlice { producer, consumer: ConsumerId(consumer), partitions }
}

fn frame(number: u8) -> Bytes {
    Bytes::from(vec![number; 100])
}

fn numbers(answer: &Answer) -> Vec<u8> {
    answer.frames.iter().map(|frame| frame[0]).collect()
}

const ALL: u64 = u64::MAX;

#[test]
fn asking_again_gives_the_same_until_it_is_acknowledged() {
    for layout in [OutputLayout::Single, OutputLayout::Broadcast] {
        let mut queues = frame_queues(layout);
        queues.set_consumer_count(1);
        let reader = slice(7, 0..1);
        (0..2).for_each(|number| assert!(queues.enqueue(0, frame(number))));
        assert_eq!(numbers(&queues.answer(&reader, 0, ALL).unwrap()), [0, 1]);
        assert!(queues.enqueue(0, frame(2)));
        let again = queues.answer(&reader, 0, ALL).unwrap();
        assert_eq!((numbers(&again), again.is_all, again.released_bytes), (vec![0, 1], false, 0));
        let part = queues.answer(&reader, 1, ALL).unwrap();
        assert_eq!((numbers(&part), part.released_bytes), (vec![1], 164));
        let rest = queues.answer(&reader, 2, ALL).unwrap();
        assert_eq!((numbers(&rest), rest.is_all), (vec![2], true));
        assert!(queues.answer(&reader, 1, ALL).is_err(), "1 was acknowledged");
        assert!(queues.answer(&reader, 4, ALL).is_err(), "3 was not given");
        let end = queues.answer(&reader, 3, ALL).unwrap();
        assert_eq!((numbers(&end), end.is_all, end.released_bytes), (vec![], true, 164));
    }
}

#[test]
fn an_answer_never_has_more_bytes_than_were_asked_for() {
    for layout in [OutputLayout::Single, OutputLayout::Broadcast] {
        let mut queues = frame_queues(layout);
        let reader = slice(7, 0..1);
        (0..5).for_each(|number| assert!(queues.enqueue(0, frame(number))));
        let small = queues.answer(&reader, 0, 99).unwrap();
        assert_eq!((numbers(&small), small.next_frame_bytes, small.is_all), (vec![], 100, false));
        let two = queues.answer(&reader, 0, 299).unwrap();
        assert_eq!((numbers(&two), two.next_frame_bytes), (vec![0, 1], 100));
        let one = queues.answer(&reader, 0, 150).unwrap();
        assert_eq!((numbers(&one), one.next_frame_bytes, one.is_all), (vec![0], 100, false));
        assert_eq!(numbers(&queues.answer(&reader, 1, ALL).unwrap()), [1]);
    }
}

#[test]
fn partitions_of_a_consumer_take_turns_and_keep_their_order() {
    let mut queues = frame_queues(OutputLayout::Partitioned { partitions: 4 });
    for (partition, number) in [(1, 10), (1, 11), (1, 12), (2, 20), (3, 30), (0, 0)] {
        queues.enqueue(partition, frame(number));
    }
    assert_eq!(numbers(&queues.answer(&slice(1, 1..3), 0, ALL).unwrap()), [10, 20, 11, 12]);
    assert_eq!(numbers(&queues.answer(&slice(2, 0..1), 0, ALL).unwrap()), [0]);
    for taken in [slice(3, 1..3), slice(1, 2..4), slice(1, 4..5), slice(1, 2..2)] {
        assert!(queues.attach(&taken).is_err(), "{taken:?}");
    }
    assert_eq!(queues.close(&slice(1, 1..3)).unwrap(), 4 * 164);
    assert!(!queues.enqueue(1, frame(13)) && queues.is_closed(2) && !queues.is_all_closed());
    assert!(queues.answer(&slice(1, 1..3), 0, ALL).unwrap().is_closed);
    assert_eq!(queues.close(&slice(3, 3..4)).unwrap(), 164, "it closes before it reads");
    queues.close(&slice(2, 0..1)).unwrap();
    queues.close(&slice(2, 0..1)).unwrap();
    assert!(queues.is_all_closed());
}

#[test]
fn broadcast_frames_stay_until_the_last_consumer_has_them() {
    let mut queues = frame_queues(OutputLayout::Broadcast);
    let (early, late) = (slice(1, 0..1), slice(2, 0..1));
    (0..3).for_each(|number| assert!(queues.enqueue(0, frame(number))));
    queues.answer(&early, 0, ALL).unwrap();
    assert_eq!(queues.answer(&early, 3, ALL).unwrap().released_bytes, 0, "more may come");
    assert_eq!(queues.set_consumer_count(2), 0);
    assert_eq!(numbers(&queues.answer(&late, 0, ALL).unwrap()), [0, 1, 2]);
    assert!(queues.attach(&slice(3, 0..1)).is_err(), "there are two");
    assert_eq!(queues.answer(&late, 2, ALL).unwrap().released_bytes, 2 * 164);
    assert_eq!(queues.close(&late).unwrap(), 164);
    assert!(!queues.is_all_closed() && queues.enqueue(0, frame(3)));
    assert_eq!(numbers(&queues.answer(&early, 3, ALL).unwrap()), [3]);
    assert_eq!(queues.close(&early).unwrap(), 164);
    assert!(queues.is_all_closed() && !queues.enqueue(0, frame(4)));
}

#[test]
fn all_consumers_of_a_broadcast_may_close_before_their_number_is_known() {
    let mut queues = frame_queues(OutputLayout::Broadcast);
    queues.enqueue(0, frame(0));
    assert_eq!(queues.close(&slice(1, 0..1)).unwrap(), 0);
    assert!(!queues.is_all_closed());
    assert_eq!(queues.set_consumer_count(1), 164);
    assert!(queues.is_all_closed());
}

#[test]
fn starving_ends_with_the_next_frame() {
    for layout in [OutputLayout::Partitioned { partitions: 2 }, OutputLayout::Broadcast] {
        let mut queues = frame_queues(layout);
        let reader = slice(1, 0..1);
        queues.starve(&reader);
        assert!(queues.is_starving(0));
        queues.enqueue(0, frame(0));
        assert!(!queues.is_starving(0));
    }
}
