use std::{fs, os::unix::fs::symlink};

use cordon::audit::log;
use integration_tests::small_disk::SmallDisk;

use super::*;

/// Most policies that the last page of the audit log takes.
const MAX_IN_A_PAGE: u64 = 40;

fn push_geo(cordon: &Cordon<'_>, revision: u64) -> Value {
    push(cordon, &write(cordon, "geo.cordon", &geo_bundle(revision)))
}

#[test]
fn geo_data_never_goes_back_though_it_is_lost() {
    let edge = edge();
    let host = HostFile {
        database: None,
        ..edge.host.clone()
    };
    let edge = Edge { host, ..edge };
    let mut cordon = managed(&edge, &["one"]);
    assert_eq!(push_geo(&cordon, 7)["outcome"], "accepted", "{}", cordon.log());
    assert_eq!(push_geo(&cordon, 7)["outcome"], "idle");
    for is_restarted in [false, true] {
        fs::remove_dir_all(cordon.dir().join("state/geo")).unwrap();
        if is_restarted {
            restart(&mut cordon);
        }
        let older = push_geo(&cordon, 6);
        assert_eq!(older["reason"], "older-revision", "{older:#}");
        assert_eq!(push_geo(&cordon, 7)["outcome"], "accepted", "it is brought back");
        assert!(cordon.dir().join("state/geo/accepted.json").exists());
        assert_eq!(push_geo(&cordon, 7)["outcome"], "idle");
    }
}

/// Also without a policy in force, and where the host file names another database.
#[test]
fn every_geo_bundle_that_is_accepted_is_on_record() {
    for is_named in [false, true] {
        let mut edge = edge();
        if !is_named {
            edge.host.database = None;
        }
        let cordon = managed(&edge, &["one"]);
        assert_eq!(push_geo(&cordon, 7)["outcome"], "accepted", "{}", cordon.log());
        let revisions: Vec<u64> = records(&cordon)
            .iter()
            .filter(|record| record.event_name() == "database")
            .filter_map(|record| record.what["revision"].as_u64())
            .collect();
        assert_eq!(revisions, [7], "named: {is_named}");
    }
}

#[test]
fn a_full_disk_is_not_the_bundles_fault_and_nothing_is_left_of_it() {
    let edge = edge();
    let scratch = Scratch::new().unwrap();
    let disk = SmallDisk::new(scratch.path(), 256).unwrap();
    let mut cordon = Cordon::new(&edge.lab, &edge.host).unwrap();
    trust(&cordon, "one");
    symlink(disk.path(), log::dir(&cordon.dir().join("state"))).unwrap();
    cordon.run().unwrap();
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    disk.fill().unwrap();
    let countries = [&["RU"][..], &["NL"]];
    let mut revision = 2;
    let refused = loop {
        let file = Issue::new(revision, &drops(countries[(revision % 2) as usize])).write(&cordon);
        let pushed = push(&cordon, &file);
        if pushed.get("outcome").is_none() {
            break pushed;
        }
        revision += 1;
        assert!(revision < MAX_IN_A_PAGE, "the disk never gets full");
    };
    assert!(
        refused["error"].as_str().unwrap().contains("Nothing was done"),
        "{refused:#}"
    );
    assert_eq!(refused["reason"], Value::Null, "{refused:#}");
    let n_kept = fs::read_dir(cordon.dir().join("state/bundles")).unwrap().count() as u64;
    assert_eq!(n_kept, revision - 1, "those that were accepted");
    let halt = directive(1, "verb = \"resume\"", &["one"]);
    cordon.cordon_ok(&["halt", "--reason", "drill"]).unwrap();
    let refused = push(&cordon, &write(&cordon, "resume.cordon", &halt));
    assert_eq!(refused["reason"], Value::Null, "{refused:#}");
    assert_eq!(judged(&cordon, NL), 10, "still halted");
}
