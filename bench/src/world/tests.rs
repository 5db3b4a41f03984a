//! The world asks about every rule.

use super::*;

#[test]
fn worlds_are_the_same_but_for_their_ids() {
    let (sent, stored) = (World::new(3, ""), World::new(3, "stored-"));
    let expected = |world: &World| {
        let asked = world.asked.iter();
        asked.map(|asked| world.permits(*asked)).collect::<Vec<_>>()
    };
    assert_eq!(expected(&sent), expected(&stored));
    assert!(
        stored
            .people
            .iter()
            .all(|person| person.id.starts_with("stored-p"))
    );
}

#[test]
fn every_action_is_permitted_sometimes_and_denied_sometimes() {
    let world = World::new(1, "");
    let singles: Vec<_> = world.singles().flatten().collect();
    for action in ACTIONS {
        let of_action: Vec<_> = singles
            .iter()
            .filter(|asked| asked.action == action)
            .collect();
        let permits = of_action.iter().filter(|asked| world.permits(***asked));
        let share = permits.count() * 100 / of_action.len();
        assert!((1..=80).contains(&share), "{action}: {share} %");
    }
}

#[test]
fn a_batch_is_one_persons() {
    let world = World::new(2, "");
    let batches: Vec<_> = world.batches().collect();
    assert_eq!(batches.len(), BATCHES);
    for batch in batches {
        assert_eq!(batch.len(), BATCH);
        assert!(batch.iter().all(|asked| asked.person == batch[0].person));
    }
}

#[test]
fn engines_are_asked_the_same_and_must_answer_the_same() {
    let world = World::new(2, "");
    for (ours, theirs) in [
        (cedar::one(&world, true), cerbos::one(&world)),
        (cedar::many(&world, true), cerbos::many(&world)),
    ] {
        assert_eq!(ours.decisions, theirs.decisions);
        let expected = |questions: &Questions| {
            let questions = questions.questions.iter();
            questions
                .map(|question| question.expected.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(expected(&ours), expected(&theirs));
    }
}
