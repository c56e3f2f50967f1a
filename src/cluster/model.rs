//! What is seen of a run's objects against a model of a cluster: watches that come apart, break off, repeat and lose,
//! orchestrators that begin anew, at any moment. What it comes to is true, and a run that has ended is seen to end.

mod world;

use proptest::prelude::*;

use super::board::Followed;
use world::World;

/// What happens on the cluster, where it can.
#[derive(Clone, Copy, Debug)]
enum Life {
    Unschedulable,
    Scheduled,
    PullFails,
    Runs,
    Ends(i32),
    Evicted,
    /// Somebody deletes the pod: it has a while to end.
    Deleted,
    /// It is there no more.
    Removed,
    /// The controller sees what became of the pod.
    JobSees,
    JobOverdue,
    JobDeleted,
}

/// What comes of that here.
#[derive(Clone, Copy, Debug)]
enum Hears {
    OfPods,
    OfJobs,
    OfPodsAgain,
    OfJobsAgain,
    /// The watch was away for too long: what is not heard yet is lost, and a list comes instead.
    PodsListed,
    JobsListed,
    /// Another orchestrator takes the run up.
    Anew,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Life(Life),
    Hears(Hears),
}

fn any_step() -> impl Strategy<Value = Step> {
    use {Hears::*, Life::*};
    let life = proptest::sample::select(vec![
        Unschedulable,
        Scheduled,
        PullFails,
        Runs,
        Runs,
        Ends(0),
        Ends(0),
        Ends(3),
        Evicted,
        Deleted,
        Removed,
        JobSees,
        JobSees,
        JobOverdue,
        JobDeleted,
    ]);
    let hears = proptest::sample::select(vec![
        OfPods,
        OfPods,
        OfJobs,
        OfJobs,
        OfPodsAgain,
        OfJobsAgain,
        PodsListed,
        JobsListed,
        Anew,
    ]);
    prop_oneof![life.prop_map(Step::Life), hears.prop_map(Step::Hears)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_seen_is_true_and_comes_to_an_end(
        has_job in any::<bool>(),
        steps in proptest::collection::vec(any_step(), 0..40),
    ) {
        let mut world = World::new(has_job);
        for step in steps {
            match step {
                Step::Life(life) => world.lives(life),
                Step::Hears(hears) => world.hears(hears),
            }
            world.looks();
        }
        world.ends();
        let seen = world.followed.as_ref().map(Followed::seen);
        prop_assert!(world.ended.is_some(), "for ever {seen:?}; Job: {}", world.has_job);
    }
}
