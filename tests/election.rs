//! Which of several replicas acts: never two at a time, whatever happens to them, their lines and their clocks.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "election/scene.rs"]
mod scene;

use std::{
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use runtimes::{
    ErrorKind,
    cluster::{Lost, Standing},
    core::{
        serde_json::json,
        testkit::cluster::{FakeCluster, Fault, Forbid},
    },
};
use scene::{Acts, Line, Replica, act, lease, options, target, within};

/// The others wait for so long at least, counted from a moment that was at most one attempt before.
const WAITED: Duration = Duration::from_millis(3000 - 200);

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_gives_its_place_to_the_next() {
    let (cluster, acts) = (FakeCluster::new(), Acts::default());
    let mut a = Replica::patient(&cluster, "a").await;
    let first = a.leads().await;
    assert!(first.holds());
    let mut b = Replica::patient(&cluster, "b").await;
    let mut c = Replica::patient(&cluster, "c").await;
    for other in [&mut b, &mut c] {
        let told = within(other.told.recv()).await.unwrap();
        assert_eq!(told, Standing::By { leader: "a".to_owned() }, "{}", other.name);
        assert!(other.term.try_recv().is_err());
    }
    let spec = lease(&cluster);
    let now = (&spec["holderIdentity"], &spec["leaseDurationSeconds"], &spec["leaseTransitions"]);
    assert_eq!(now, (&json!("a"), &json!(120), &json!(0)));
    assert!(spec["acquireTime"].is_string() && spec["renewTime"].is_string(), "{spec}");
    tokio::select! {
        lost = act(&first, "a", &acts) => panic!("{lost}"),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }

    first.give_back().await.unwrap();
    let (who, second) = tokio::select! {
        term = b.leads() => ("b", term),
        term = c.leads() => ("c", term),
    };
    assert_eq!(lease(&cluster)["holderIdentity"], who);
    assert_eq!(lease(&cluster)["leaseTransitions"], 1);
    tokio::select! {
        lost = act(&second, who, &acts) => panic!("{lost}"),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    assert_eq!(acts.one_after_the_other(), ["a", who]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_gone_is_missed_after_its_time() {
    let cluster = FakeCluster::new();
    let mut a = Replica::new(&cluster, "a").await;
    let first = a.leads().await;
    let mut b = Replica::new(&cluster, "b").await;
    b.is_told(|told| matches!(told, Standing::By { .. })).await;
    let died = Instant::now();
    drop(first);
    let second = b.leads().await;
    assert!(died.elapsed() >= WAITED, "{:?}", died.elapsed());
    assert!(second.holds());
    assert_eq!(b.told.recv().await, Some(Standing::Leading));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_renew_stops_before_another_begins() {
    for line in [Line::Refused, Line::Silent, Line::Deaf] {
        let (cluster, acts) = (FakeCluster::new(), Acts::default());
        let mut a = Replica::new(&cluster, "a").await;
        let first = a.leads().await;
        let mut b = Replica::new(&cluster, "b").await;
        b.is_told(|told| matches!(told, Standing::By { .. })).await;
        a.cut(line);
        let lost = within(act(&first, "a", &acts)).await;
        assert!(!first.holds());
        assert!(matches!(&lost, Lost::NotRenewed(why) if !why.is_empty()), "{lost:?}");
        assert!(matches!(a.is_told(|told| *told != Standing::Leading).await, Standing::Trouble(_)));
        let second = b.leads().await;
        tokio::select! {
            lost = act(&second, "b", &acts) => panic!("{lost}"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        assert_eq!(acts.one_after_the_other(), ["a", "b"]);
        let pause = acts.first_of("b").unwrap() - acts.last_of("a").unwrap();
        assert!(pause >= Duration::from_millis(300), "{pause:?}");
    }
}

/// As a process that is stopped and continued: its thread does nothing for a while.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_stopped_for_a_while_does_nothing_more() {
    let (cluster, acts) = (FakeCluster::new(), Acts::default());
    let (stop, stopped) = mpsc::channel::<()>();
    let (leads, led) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn({
        let (cluster, acts) = (cluster.clone(), acts.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut a = Replica::new(&cluster, "a").await;
                let term = a.leads().await;
                acts.note("a");
                leads.send(()).unwrap();
                let work = async {
                    // Here the process is stopped, for as long as the test likes.
                    stopped.recv().unwrap();
                    tokio::task::yield_now().await;
                    acts.note("a");
                };
                term.fence(work).await.unwrap_err()
            })
        }
    });
    within(led).await.unwrap();
    let mut b = Replica::new(&cluster, "b").await;
    let second = b.leads().await;
    acts.note("b");
    stop.send(()).unwrap();
    let lost = within(tokio::task::spawn_blocking(move || thread.join().unwrap())).await.unwrap();
    assert!(matches!(&lost, Lost::NotRenewed(why) if why.contains("did not run")), "{lost:?}");
    assert!(second.holds());
    assert_eq!(acts.one_after_the_other(), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_of_other_clocks_are_not_compared() {
    for time in ["1999-01-01T00:00:00.000000Z", "2199-01-01T00:00:00.000000Z"] {
        let cluster = FakeCluster::new();
        cluster.put(&json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "runtimes-daemon", "namespace": "default"},
            "spec": {
                "holderIdentity": "other", "leaseDurationSeconds": 2, "acquireTime": time, "renewTime": time,
                "leaseTransitions": 7,
            },
        }));
        let began = Instant::now();
        let mut a = Replica::new(&cluster, "a").await;
        assert_eq!(within(a.told.recv()).await, Some(Standing::By { leader: "other".to_owned() }));
        let _term = a.leads().await;
        assert!(began.elapsed() >= Duration::from_secs(2), "{time}: {:?}", began.elapsed());
        assert_eq!(lease(&cluster)["leaseTransitions"], 8, "{time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_in_time_changes_nothing() {
    for fault in [
        Fault::internal().on("update", "leases").times(2),
        Fault::too_many_requests(0).on("update", "leases").times(2),
        Fault::unreachable().on("update", "leases").times(2),
        Fault::answer_lost().on("update", "leases"),
        Fault::conflict().on("update", "leases"),
        Fault::unauthorized().on("update", "leases"),
    ] {
        let what = format!("{fault:?}");
        let cluster = FakeCluster::new();
        let mut a = Replica::patient(&cluster, "a").await;
        let term = a.leads().await;
        let before = cluster.count("update", "leases");
        cluster.fault(fault);
        within(cluster.until(|cluster| cluster.count("update", "leases") >= before + 6)).await;
        assert!(term.holds(), "{what}");
        assert_eq!(lease(&cluster)["leaseTransitions"], 0, "{what}");
        assert_eq!(lease(&cluster)["holderIdentity"], "a", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_somebody_deletes_is_made_again_and_one_that_is_taken_is_lost() {
    let cluster = FakeCluster::new();
    let mut a = Replica::patient(&cluster, "a").await;
    let term = a.leads().await;
    assert!(cluster.remove("leases", "default", "runtimes-daemon"));
    within(cluster.until(|cluster| cluster.object("leases", "default", "runtimes-daemon").is_some())).await;
    assert!(term.holds());
    assert_eq!(lease(&cluster)["holderIdentity"], "a");

    let mut object = cluster.object("leases", "default", "runtimes-daemon").unwrap();
    object["spec"]["holderIdentity"] = json!("x");
    cluster.put(&object);
    let lost = within(term.over()).await;
    assert_eq!(lost, Lost::Taken { by: "x".to_owned() });
    let error = runtimes::Error::from(lost);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("x has taken the lease"), "{error}");
    // What is another's is not given back.
    term.give_back().await.unwrap();
    assert_eq!(lease(&cluster)["holderIdentity"], "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_that_come_and_go_never_act_together() {
    let (cluster, acts) = (FakeCluster::new(), Acts::default());
    let mut replicas = Vec::new();
    for number in 0..4 {
        let mut replica = Replica::new(&cluster, &format!("r{number}")).await;
        let acts = acts.clone();
        replicas.push(tokio::spawn(async move {
            let term = replica.leads().await;
            let name = replica.name.clone();
            tokio::select! {
                // A machine that has much to do may take its place away.
                _ = act(&term, &name, &acts) => return,
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            // Each leaves in another way.
            match number {
                0 => term.give_back().await.unwrap(),
                1 => drop(term),
                2 => {
                    replica.cut(Line::Silent);
                    within(act(&term, &name, &acts)).await;
                }
                _ => {
                    replica.cut(Line::Deaf);
                    within(act(&term, &name, &acts)).await;
                }
            }
        }));
    }
    for replica in replicas {
        within(replica).await.unwrap();
    }
    assert!(!acts.one_after_the_other().is_empty());
    assert_eq!(lease(&cluster)["leaseTransitions"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_possible_is_said_at_once() {
    let line = Arc::new(Mutex::new(Line::Open));
    for (verb, there) in [("get", false), ("create", false), ("update", true)] {
        let cluster = FakeCluster::new();
        if there {
            drop(Replica::new(&cluster, "a").await.leads().await);
        }
        cluster.forbid(Forbid::verb(verb).on("leases"));
        let error = target(&cluster, &line).election(options("b")).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.help_text().unwrap().contains(&format!("`{verb}` on `leases`")), "{error}");
    }
    let cluster = FakeCluster::new();
    let nowhere = options("b");
    let nowhere = runtimes::cluster::ElectionOptions { namespace: Some("nope".to_owned()), ..nowhere };
    let error = target(&cluster, &line).election(nowhere).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.message().contains("\"nope\""), "{error}");

    let began = Instant::now();
    for way in [Line::Refused, Line::Silent] {
        *line.lock().unwrap() = way;
        let error = target(&cluster, &line).election(options("b")).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
