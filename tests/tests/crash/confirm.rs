use super::*;

impl Subject<'_> {
    /// Puts the other policy in force until it is confirmed or an hour has passed.
    fn bring_to_confirm(&mut self) {
        let path = self.cordon.write_policy(&policy(1 - self.in_force)).unwrap();
        let args = ["apply", "--confirm", "1h", "--override-lockout", &path];
        self.cordon.cordon_ok(&args).unwrap();
        self.in_force = 1 - self.in_force;
    }

    /// SIGKILL at one call of a confirm.
    fn crash_at_confirm(&mut self, call: &str, when: usize) -> bool {
        let context = format!("SIGKILL of a confirm at {call} {when}");
        self.bring_to_confirm();
        let strace = Strace::attach(self.cordon.pid().unwrap(), &Fault::kill(call, when)).unwrap();
        let answer = self.cordon.cordon(&["confirm"]).unwrap();
        strace.detach().unwrap();
        if !self.has_ended() {
            assert_eq!(answer.status, 0, "{context}: {answer:?}");
            return false;
        }
        self.cordon.forget().unwrap();
        assert_eq!(self.edge.enforced(&context), self.in_force, "{context}");
        self.cordon.run().unwrap();
        let is_waiting = !self.cordon.status().unwrap()["confirm_left_s"].is_null();
        match call {
            // By then the kernel has it for good.
            "rename" => assert!(!is_waiting, "{context}"),
            _ if is_waiting => drop(self.cordon.cordon_ok(&["confirm"]).unwrap()),
            _ => {}
        }
        self.check_settled(&context);
        self.cordon.kill().unwrap();
        self.boot();
        assert_eq!(
            self.edge.enforced(&context),
            self.in_force,
            "{context}: after a boot"
        );
        assert!(
            is_ok(&self.cordon.status().unwrap(), self.in_force),
            "{context}: after a boot"
        );
        true
    }

    /// A start with nothing in the kernel.
    fn boot(&mut self) {
        self.cordon.cordon_ok(&["detach", "--yes"]).unwrap();
        self.cordon.run().unwrap();
        self.cordon.wait_attached().unwrap();
    }
}

/// The kernel keeps the policy first, then the disk: whoever dies in between comes back with the confirmed policy.
#[test]
fn killed_at_any_call_of_a_confirm_the_new_policy_holds_and_can_be_confirmed() {
    let edge = Edge::new();
    let mut subject = Subject::new(&edge, By::Apply);
    subject.bring_to_confirm();
    let strace = Strace::count(subject.cordon.pid().unwrap(), &CALLS).unwrap();
    subject.cordon.cordon_ok(&["confirm"]).unwrap();
    let counted = calls_of(&strace.trace().unwrap());
    let mut tally = Tally::default();
    for (call, n) in counted {
        for when in chosen(n) {
            let came = subject.crash_at_confirm(&call, when);
            tally.add(&format!("SIGKILL of a confirm at {call}"), when, n, came);
        }
    }
    tally.check(0);
    assert!(subject.crash_at_confirm("rename", 1), "the one that stores it");
}

/// A disk that does not take it is told of, and the next start heals it.
#[test]
fn a_confirm_that_cannot_be_stored_says_so_and_holds() {
    let edge = Edge::new();
    let mut subject = Subject::new(&edge, By::Apply);
    subject.bring_to_confirm();
    let strace = Strace::attach(
        subject.cordon.pid().unwrap(),
        &Fault::error("rename", "ENOSPC", 1),
    )
    .unwrap();
    let answer = subject.cordon.cordon(&["confirm"]).unwrap();
    assert!(strace.detach().unwrap(), "{answer:?}");
    assert!(
        answer.status != 0 && answer.stderr.contains("but not stored"),
        "{answer:?}"
    );
    assert_eq!(subject.cordon.status().unwrap()["state"], "degraded");
    assert_eq!(edge.enforced("not stored"), subject.in_force);
    subject.cordon.kill().unwrap();
    subject.boot();
    assert_eq!(
        edge.enforced("after a boot"),
        1 - subject.in_force,
        "never stored"
    );
    subject.in_force = 1 - subject.in_force;
    assert!(is_ok(&subject.cordon.status().unwrap(), subject.in_force));

    subject.bring_to_confirm();
    let strace = Strace::attach(
        subject.cordon.pid().unwrap(),
        &Fault::error("rename", "ENOSPC", 1),
    )
    .unwrap();
    assert_ne!(subject.cordon.cordon(&["confirm"]).unwrap().status, 0);
    assert!(strace.detach().unwrap());
    subject.cordon.kill().unwrap();
    subject.cordon.run().unwrap();
    subject.check_settled("a restart stores it");
    subject.cordon.kill().unwrap();
    subject.boot();
    assert_eq!(edge.enforced("after a boot"), subject.in_force);
}
