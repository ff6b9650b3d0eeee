use std::{fs, time::Duration};

use aya::{
    maps::{
        Map, MapData,
        lpm_trie::{Key, LpmTrie},
    },
    programs::ProgramInfo,
};
use cordon::{
    dataplane::{Dataplane, DataplaneError, Settings, detach_all},
    host::ModeChoice,
    instant::Instant,
};
use integration_tests::{
    images,
    lab::{EDGE_IFNAME, Lab},
    scratch::Scratch,
    test_run::{XDP_DROP, XDP_PASS},
};
use ipnet::IpNet;
use probe_common::{FOREVER, OverrideValue, limits::MAX_FAILSAFE, map_name};

use super::{RU, action, ephemeral, location, open, pins};

#[test]
fn a_staged_generation_that_came_to_nothing_blocks_no_later_publish() {
    let mut dataplane = ephemeral();
    let location = location();
    let image = images::image(images::PASS_ALL, &location).unwrap();
    let staged = dataplane.stage(&image).unwrap();
    drop(staged);
    dataplane.publish(&image, None).unwrap();
    dataplane
        .publish(
            &images::image(&images::drop_countries(&["RU"]), &location).unwrap(),
            None,
        )
        .unwrap();
    dataplane.revert().unwrap();
    dataplane.tidy().unwrap();
    let numbers = [&images::drop_countries(&["US"]), images::PASS_ALL].map(|text| {
        dataplane
            .publish(&images::image(text, &location).unwrap(), None)
            .unwrap()
            .number
    });
    assert_eq!(numbers, [4, 5], "no number is given twice");
}

#[test]
fn an_end_that_is_missing_in_the_kernel_is_not_published() {
    let mut dataplane = ephemeral();
    let until = Instant(Instant::now().0 + 3600);
    let policy = images::drop_countries(&["RU"])
        + &format!(
            "[[exemption]]\nprefixes = [\"11.0.9.0/24\"]\nreference = \"C\"\nreason = \"customer\"\nuntil = {until}\n"
        );
    let staged = dataplane
        .stage(&images::image(&policy, &location()).unwrap())
        .unwrap();
    let map = Map::LpmTrie(MapData::from_pin(staged.dir().join(map_name::OVERRIDES_V4)).unwrap());
    let mut overrides: LpmTrie<_, [u8; 4], OverrideValue> = map.try_into().unwrap();
    let key = Key::new(24, [11, 0, 9, 0]);
    let value = overrides.get(&key, 0).unwrap();
    overrides
        .insert(
            &key,
            OverrideValue {
                until_s: FOREVER,
                ..value
            },
            0,
        )
        .unwrap();
    assert!(
        matches!(dataplane.verify(staged), Err(DataplaneError::Unverified { .. })),
        "an exemption for ever"
    );
}

#[test]
fn a_generation_that_cannot_be_opened_stays_in_force_and_can_be_replaced_with_a_way_back() {
    let fs = Scratch::new().unwrap();
    let mut dataplane = open(&fs);
    let location = location();
    dataplane
        .publish(
            &images::image(&images::drop_countries(&["RU"]), &location).unwrap(),
            None,
        )
        .unwrap();
    drop(dataplane);
    let dir = pins(&fs).join("gen-1");
    fs::remove_file(dir.join(map_name::META)).unwrap();

    let mut dataplane = open(&fs);
    let state = dataplane.state().unwrap();
    assert!(
        state.active.is_none() && !state.is_empty,
        "unknown, but not nothing: {state:?}"
    );
    assert!(dir.exists(), "what may be in force is not swept");
    assert_eq!(action(&dataplane, RU), XDP_DROP);
    let pass_all = images::image(images::PASS_ALL, &location).unwrap();
    dataplane
        .publish(&pass_all, Some(Duration::from_secs(60)))
        .unwrap();
    assert_eq!(action(&dataplane, RU), XDP_PASS);
}

/// A process that dies while it pins a generation leaves some of its pins only.
#[test]
fn what_a_death_left_of_a_generation_is_removed_if_all_that_is_in_force_is_known() {
    let fs = Scratch::new().unwrap();
    let mut dataplane = open(&fs);
    let location = location();
    let strict = images::image(&images::drop_countries(&["RU"]), &location).unwrap();
    dataplane.publish(&strict, None).unwrap();
    let staged = dataplane
        .stage(&images::image(images::PASS_ALL, &location).unwrap())
        .unwrap();
    let dir = staged.dir().to_owned();
    fs::remove_file(dir.join("cordon_sample")).unwrap();
    // Nothing is cleaned up by a process that is killed.
    std::mem::forget(staged);
    drop(dataplane);

    let dataplane = open(&fs);
    assert!(!dir.exists(), "{} is left over", dir.display());
    assert_eq!(dataplane.state().unwrap().active.unwrap().number, 1);
    assert_eq!(action(&dataplane, RU), XDP_DROP);
}

#[test]
fn an_entry_program_whose_maps_are_gone_is_not_taken_up() {
    let fs = Scratch::new().unwrap();
    let mut dataplane = open(&fs);
    let location = location();
    dataplane
        .publish(
            &images::image(&images::drop_countries(&["RU"]), &location).unwrap(),
            None,
        )
        .unwrap();
    drop(dataplane);
    // What a detach leaves that is killed half-way, at the worst.
    fs::remove_file(pins(&fs).join(map_name::STATE)).unwrap();
    fs::remove_file(pins(&fs).join(map_name::SLOTS)).unwrap();

    let mut dataplane = open(&fs);
    dataplane
        .publish(&images::image(images::PASS_ALL, &location).unwrap(), None)
        .unwrap();
    assert_eq!(
        action(&dataplane, RU),
        XDP_PASS,
        "the entry program reads the word that is written"
    );
}

#[test]
fn links_get_the_entry_program_of_the_process_that_opens_them() {
    let lab = Lab::new().unwrap();
    let fs = Scratch::new().unwrap();
    let settings = |no_generation_pass| Settings {
        pin_dir: Some(fs.bpffs().join("cordon")),
        no_generation_pass,
        ..Default::default()
    };
    let image = images::image(images::PASS_ALL, &location()).unwrap();
    let attached_program = || {
        let link = lab.edge_link().unwrap();
        let id = link
            .split("prog/xdp id ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        id.unwrap_or_else(|| panic!("no XDP program: {link}"))
            .parse::<u32>()
            .unwrap()
    };
    let pinned_program = |name: &str| ProgramInfo::from_pin(pins(&fs).join(name)).unwrap().id();
    lab.edge.run(|| {
        let mut dataplane = Dataplane::open(&settings(false)).unwrap();
        dataplane.publish(&image, None).unwrap();
        dataplane.attach(EDGE_IFNAME, ModeChoice::RequireNative).unwrap();
    });
    let first = attached_program();
    assert_eq!(first, pinned_program("cordon_entry_drop"));
    lab.edge.run(|| drop(Dataplane::open(&settings(false)).unwrap()));
    assert_eq!(attached_program(), first, "the same program is adopted");
    lab.edge.run(|| drop(Dataplane::open(&settings(true)).unwrap()));
    assert_eq!(
        attached_program(),
        pinned_program("cordon_entry_pass"),
        "another one replaces it in its link"
    );
    assert_ne!(attached_program(), first);
    lab.edge.run(|| {
        let detached = detach_all(&fs.bpffs().join("cordon")).unwrap();
        assert_eq!(detached.interfaces, [EDGE_IFNAME]);
    });
    assert!(!lab.edge_link().unwrap().contains("prog/xdp"));
    assert!(!pins(&fs).exists());
}

#[test]
fn a_halt_holds_without_a_generation_too() {
    let mut dataplane = Dataplane::open(&Settings {
        pin_dir: None,
        no_generation_pass: true,
        ..Default::default()
    })
    .unwrap();
    assert_eq!(action(&dataplane, RU), XDP_PASS, "the host file says pass");
    dataplane.halt(None).unwrap();
    assert_eq!(action(&dataplane, RU), XDP_DROP);
    dataplane.resume().unwrap();
    assert_eq!(action(&dataplane, RU), XDP_PASS);
}

#[test]
fn a_full_failsafe_list_is_replaced_by_another_full_one() {
    let mut dataplane = ephemeral();
    let list = |net: u8| -> Vec<IpNet> {
        (0..MAX_FAILSAFE)
            .map(|idx| format!("{net}.0.{}.{}/32", idx / 256, idx % 256).parse().unwrap())
            .collect()
    };
    dataplane.set_failsafe(&list(20)).unwrap();
    dataplane.set_failsafe(&list(21)).unwrap();
    assert_eq!(
        ["20.0.0.7", "21.0.0.7"].map(|source| action(&dataplane, source)),
        [XDP_DROP, XDP_PASS]
    );
    let mut too_many = list(22);
    too_many.push("23.0.0.1/32".parse().unwrap());
    assert!(matches!(
        dataplane.set_failsafe(&too_many),
        Err(DataplaneError::TooMany { .. })
    ));
    assert_eq!(
        action(&dataplane, "21.0.0.7"),
        XDP_PASS,
        "a refused list changes nothing"
    );
}
