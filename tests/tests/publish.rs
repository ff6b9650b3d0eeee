//! One publish at a time: what is verified, what is shared, what reverts, what survives the daemon.

/// What is left by a process that died, and by anyone who removes pins.
mod everything;
mod recovery;
/// What a generation and the host's state say, packet by packet and second by second.
mod verdicts;

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant as Stopwatch},
};

use aya::maps::{Map, MapData, lpm_trie::Key, lpm_trie::LpmTrie};
use cordon::{
    dataplane::{Dataplane, DataplaneError, Settings},
    geo::Location,
};
use integration_tests::{
    images,
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
    test_run::{XDP_DROP, XDP_PASS, action_for},
};
use probe_common::{Action, ClassValue, Decision, map_name};

const RU: &str = "11.0.0.1";
const RU_V6: &str = "2a00:11::1";
const US: &str = "12.0.0.1";

fn location() -> Arc<Location> {
    let database = MmdbWriter::new()
        .country("11.0.0.0/16", "RU")
        .country("2a00:11::/32", "RU")
        .country("12.0.0.0/16", "US")
        .country("2a00:12::/32", "US");
    images::location(&database).unwrap()
}

fn ephemeral() -> Dataplane {
    Dataplane::open(&Settings {
        pin_dir: None,
        no_generation_pass: false,
        ..Default::default()
    })
    .unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What an interface would do with a packet from an address.
fn action(dataplane: &Dataplane, source: &str) -> u32 {
    action_for(&dataplane.open_entry_program().unwrap(), address(source)).unwrap()
}

#[test]
fn a_corrupted_table_is_not_published() {
    let mut dataplane = ephemeral();
    let location = location();
    dataplane
        .publish(&images::image(images::PASS_ALL, &location).unwrap(), None)
        .unwrap();
    let before = dataplane.state().unwrap().active.unwrap();

    // The location table is corrupted: the second image has its own, so the first one is not touched.
    let other = images::location(
        &MmdbWriter::new()
            .country("11.0.0.0/16", "RU")
            .country("2a00:11::/32", "RU"),
    )
    .unwrap();
    let staged = dataplane
        .stage(&images::image(&images::drop_countries(&["RU"]), &other).unwrap())
        .unwrap();
    let dir = staged.dir().to_owned();
    let map = Map::LpmTrie(MapData::from_pin(dir.join(map_name::LOCATION_V4)).unwrap());
    let mut trie: LpmTrie<_, [u8; 4], ClassValue> = map.try_into().unwrap();
    let entry = Key::new(16, [11, 0, 0, 0]);
    assert_ne!(
        trie.get(&entry, 0).unwrap().class,
        0,
        "the entry that is corrupted is there"
    );
    trie.insert(
        &entry,
        ClassValue {
            class: 0,
            reserved: 0,
        },
        0,
    )
    .unwrap();

    let refused = dataplane
        .verify(staged)
        .err()
        .expect("a table that judges wrongly must not get through");
    assert!(
        matches!(refused, DataplaneError::Unverified { n_wrong: 1.., .. }),
        "{refused}"
    );
    assert!(!dir.exists(), "what was refused is removed");
    assert_eq!(
        dataplane.state().unwrap().active.unwrap().number,
        before.number,
        "the generation before stays"
    );
    assert_eq!(action(&dataplane, RU), XDP_PASS);
}

#[test]
fn a_corrupted_cell_or_override_is_not_published() {
    let mut dataplane = ephemeral();
    let location = location();
    let policy =
        images::drop_countries(&["RU"]) + "[[deny]]\nprefixes = [\"12.0.7.0/24\"]\nreason = \"abuse\"\n";
    let image = images::image(&policy, &location).unwrap();

    let staged = dataplane.stage(&image).unwrap();
    let map = Map::Array(MapData::from_pin(staged.dir().join(map_name::MATRIX)).unwrap());
    let mut matrix: aya::maps::Array<_, u32> = map.try_into().unwrap();
    let ru = u32::from(location.classes.class_of("RU").unwrap());
    matrix.set(ru, Action::Pass as u32, 0).unwrap();
    assert!(
        matches!(dataplane.verify(staged), Err(DataplaneError::Unverified { .. })),
        "a cell that passes RU"
    );

    let staged = dataplane.stage(&image).unwrap();
    let map = Map::LpmTrie(MapData::from_pin(staged.dir().join(map_name::OVERRIDES_V4)).unwrap());
    let mut overrides: LpmTrie<_, [u8; 4], probe_common::OverrideValue> = map.try_into().unwrap();
    overrides.remove(&Key::new(24, [12, 0, 7, 0])).unwrap();
    assert!(
        matches!(dataplane.verify(staged), Err(DataplaneError::Unverified { .. })),
        "a deny that is missing"
    );

    let both = policy.replace("action = \"drop\"", "action = \"drop\"\ndirection = \"both\"");
    assert_ne!(both, policy);
    let staged = dataplane
        .stage(&images::image(&both, &location).unwrap())
        .unwrap();
    let map = Map::Array(MapData::from_pin(staged.dir().join(map_name::MATRIX)).unwrap());
    let mut matrix: aya::maps::Array<_, u32> = map.try_into().unwrap();
    assert_eq!(matrix.get(&ru, 0).unwrap(), u32::from(Decision::DROP.both().0));
    matrix.set(ru, u32::from(Decision::DROP.0), 0).unwrap();
    assert!(
        matches!(dataplane.verify(staged), Err(DataplaneError::Unverified { .. })),
        "a cell that leaves the other direction alone"
    );

    assert!(
        dataplane.state().unwrap().active.is_none(),
        "nothing was published"
    );
}

#[test]
fn published_tables_refuse_writes() {
    let fs = Scratch::new().unwrap();
    let mut dataplane = open(&fs);
    dataplane
        .publish(
            &images::image(&images::drop_countries(&["RU"]), &location()).unwrap(),
            None,
        )
        .unwrap();
    let map = |name: &str| MapData::from_pin(pins(&fs).join("gen-1").join(name)).unwrap();
    let mut locations: LpmTrie<_, [u8; 4], ClassValue> =
        Map::LpmTrie(map(map_name::LOCATION_V4)).try_into().unwrap();
    let nowhere = ClassValue {
        class: 0,
        reserved: 0,
    };
    locations
        .insert(&Key::new(16, [11, 0, 0, 0]), nowhere, 0)
        .expect_err("a frozen trie refuses writes");
    let mut matrix: aya::maps::Array<_, u32> = Map::Array(map(map_name::MATRIX)).try_into().unwrap();
    matrix
        .set(0, Action::Pass as u32, 0)
        .expect_err("a frozen matrix refuses writes");
}

#[test]
fn a_policy_change_shares_the_location_tables() {
    let mut dataplane = ephemeral();
    let location = location();
    let first = dataplane
        .publish(&images::image(images::PASS_ALL, &location).unwrap(), None)
        .unwrap();
    let second = dataplane
        .publish(
            &images::image(&images::drop_countries(&["RU"]), &location).unwrap(),
            None,
        )
        .unwrap();
    assert!(!first.shared_location && second.shared_location);
    assert_eq!(action(&dataplane, RU), XDP_DROP);
    assert_eq!(action(&dataplane, RU_V6), XDP_DROP);
    assert_eq!(action(&dataplane, US), XDP_PASS);
    // The generation that filled the tables is retired; they live on with those that share them.
    for _ in 0..3 {
        let text = images::drop_countries(&["US"]);
        let published = dataplane
            .publish(&images::image(&text, &location).unwrap(), None)
            .unwrap();
        assert!(published.shared_location);
    }
    assert_eq!(action(&dataplane, US), XDP_DROP);
}

#[test]
fn every_publish_runs_at_least_4096_samples() {
    let mut dataplane = ephemeral();
    let published = dataplane
        .publish(&images::image(images::PASS_ALL, &location()).unwrap(), None)
        .unwrap();
    assert!(
        published.n_samples >= 4096,
        "only {} samples",
        published.n_samples
    );
}

#[test]
fn an_unconfirmed_publish_reverts_in_the_kernel_with_the_daemon_gone() {
    let fs = Scratch::new().unwrap();
    let mut dataplane = open(&fs);
    let location = location();
    dataplane
        .publish(&images::image(images::PASS_ALL, &location).unwrap(), None)
        .unwrap();
    let strict = images::image(&images::drop_countries(&["RU"]), &location).unwrap();
    dataplane.publish(&strict, Some(Duration::from_secs(2))).unwrap();
    let entry = dataplane.open_entry_program().unwrap();
    assert_eq!(
        action_for(&entry, address(RU)).unwrap(),
        XDP_DROP,
        "in force until the deadline"
    );
    drop(dataplane);

    let started = Stopwatch::now();
    while action_for(&entry, address(RU)).unwrap() == XDP_DROP {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "the kernel never reverted"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("reverted {:?} after the daemon was gone", started.elapsed());

    let dataplane = open(&fs);
    let state = dataplane.state().unwrap();
    assert!(state.reverted, "a new daemon sees what happened");
    assert_eq!(state.active.unwrap().number, 1);
}

#[test]
fn a_confirmed_publish_stays_and_a_late_confirmation_is_refused() {
    let mut dataplane = ephemeral();
    let location = location();
    let strict = images::image(&images::drop_countries(&["RU"]), &location).unwrap();
    let refused = dataplane
        .publish(&strict, Some(Duration::from_secs(60)))
        .unwrap_err();
    assert!(matches!(refused, DataplaneError::NothingToRevertTo), "{refused}");

    dataplane
        .publish(&images::image(images::PASS_ALL, &location).unwrap(), None)
        .unwrap();
    assert!(matches!(
        dataplane.confirm(),
        Err(DataplaneError::NothingToConfirm)
    ));
    dataplane.publish(&strict, Some(Duration::from_secs(60))).unwrap();
    assert!(
        dataplane
            .state()
            .unwrap()
            .confirm_left_s
            .is_some_and(|left_s| (1..=61).contains(&left_s))
    );
    dataplane.confirm().unwrap();
    assert_eq!(dataplane.state().unwrap().confirm_left_s, None);
    assert_eq!(action(&dataplane, RU), XDP_DROP);

    dataplane.revert().unwrap();
    assert_eq!(action(&dataplane, RU), XDP_PASS, "back to the generation before");
    dataplane
        .publish(&strict, Some(Duration::from_millis(1)))
        .unwrap();
    let started = Stopwatch::now();
    while !dataplane.state().unwrap().reverted {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "the deadline never came"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(matches!(
        dataplane.confirm(),
        Err(DataplaneError::ConfirmedTooLate)
    ));
}

#[test]
fn a_new_process_adopts_what_is_pinned_and_rebuilds_nothing() {
    let fs = Scratch::new().unwrap();
    let mut dataplane = open(&fs);
    let location = location();
    let image = images::image(&images::drop_countries(&["RU"]), &location).unwrap();
    dataplane.publish(&image, None).unwrap();
    let before = dataplane.state().unwrap().active.unwrap();
    // A process that died between pinning and the store of the word leaves a directory that no slot names.
    let staged = dataplane
        .stage(&images::image(images::PASS_ALL, &location).unwrap())
        .unwrap();
    let leftover = staged.dir().to_owned();
    drop(staged);
    drop(dataplane);
    assert!(leftover.exists());

    let mut dataplane = open(&fs);
    assert!(!leftover.exists(), "leftovers are swept");
    assert!(
        dataplane.recognise(&image).unwrap(),
        "the image is recognised by its digest"
    );
    let after = dataplane.state().unwrap().active.unwrap();
    assert_eq!((after.number, after.slot), (before.number, before.slot));
    assert_eq!(action(&dataplane, RU), XDP_DROP);
    assert!(
        !dataplane
            .recognise(&images::image(images::PASS_ALL, &location).unwrap())
            .unwrap()
    );
}

#[test]
fn two_daemons_never_share_a_pin_directory() {
    let fs = Scratch::new().unwrap();
    let _dataplane = open(&fs);
    let settings = Settings {
        pin_dir: Some(fs.bpffs().join("cordon")),
        no_generation_pass: false,
        ..Default::default()
    };
    assert!(matches!(
        Dataplane::open(&settings),
        Err(DataplaneError::InUse { .. })
    ));
}

#[test]
fn pins_of_another_shape_and_a_missing_bpffs_are_refused() {
    let fs = Scratch::new().unwrap();
    drop(open(&fs));
    let failsafe = pins(&fs).join(map_name::FAILSAFE_V4);
    std::fs::remove_file(&failsafe).unwrap();
    let foreign: aya::maps::Array<MapData, u32> = aya::maps::Array::create(7, 0).unwrap();
    foreign.pin(&failsafe).unwrap();
    let settings = Settings {
        pin_dir: Some(fs.bpffs().join("cordon")),
        no_generation_pass: false,
        ..Default::default()
    };
    let refused = Dataplane::open(&settings)
        .err()
        .expect("a foreign map must not be used");
    assert!(
        matches!(&refused, DataplaneError::ForeignPin { path, .. } if *path == failsafe),
        "{refused}"
    );

    let elsewhere = tempfile::tempdir().unwrap();
    let settings = Settings {
        pin_dir: Some(elsewhere.path().join("cordon")),
        no_generation_pass: false,
        ..Default::default()
    };
    let refused = Dataplane::open(&settings).err().expect("pins need a bpffs");
    assert!(matches!(refused, DataplaneError::NoBpffs { .. }), "{refused}");
    assert!(
        refused.to_string().contains("mount -t bpf"),
        "the error names the fix: {refused}"
    );
}

fn open(fs: &Scratch) -> Dataplane {
    let settings = Settings {
        pin_dir: Some(fs.bpffs().join("cordon")),
        no_generation_pass: false,
        ..Default::default()
    };
    Dataplane::open(&settings).unwrap()
}

fn pins(fs: &Scratch) -> PathBuf {
    fs.bpffs().join("cordon").join("v1")
}
