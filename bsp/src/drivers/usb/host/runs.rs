//! Runs of requests on the control pipe: which is next, its steps, and what follows from its end.

use super::{Device, Host, Pipe, Role, Run, TRIES};
use crate::bus::Bus;
use crate::dma::DmaMemory;
use crate::drivers::dwc2::channel::TransferError;
use crate::drivers::usb::Class;
use crate::drivers::usb::control::Control;
use crate::drivers::usb::enumeration::{Enumeration, Found};
use crate::drivers::usb::hub::{self, Hub, Look, SetUp};
use crate::drivers::usb::request::{Answer, Request, Step, Target};

impl<B: Bus, D: DmaMemory, C: Class> Host<B, D, C> {
    /// Goes on with the run of requests, or begins one.
    pub(super) fn pipe_round(&mut self, now: u64) -> bool {
        match self.pipe {
            Pipe::Free => {
                if self.run.is_none() {
                    self.run = self.choose(now);
                }
                if self.run.is_some() {
                    self.pipe = Pipe::Begin;
                }
                self.run.is_some()
            }
            Pipe::Begin => {
                self.step(None, now);
                true
            }
            Pipe::Waiting { until } if now < until => false,
            Pipe::Waiting { .. } => {
                self.step(None, now);
                true
            }
            Pipe::Asked => {
                let Self {
                    control,
                    controller,
                    memory,
                    ..
                } = self;
                match control.poll(controller, memory, now) {
                    None => false,
                    // The channel is lost until the controller is reset.
                    Some(Err(TransferError::Stuck)) => {
                        self.restart();
                        true
                    }
                    result => {
                        self.step(result, now);
                        true
                    }
                }
            }
        }
    }

    /// What is to be done next, if anything.
    fn choose(&self, now: u64) -> Option<Run> {
        let hubs = self.devices.iter().enumerate();
        let hubs = hubs.filter_map(|(index, device)| match device {
            Some(Device {
                role: Role::Hub(hub),
                target,
                ..
            }) => Some((index, hub, *target)),
            _ => None,
        });
        for (index, hub, target) in hubs {
            if hub.ports == 0 {
                return Some(Run::SetUp(index, SetUp::new(target)));
            }
            if hub.unseen != 0 {
                let port = hub.unseen.trailing_zeros() as u8;
                let child = self.child(index, port).is_some();
                let failures = hub.failures.get(usize::from(port));
                let willing = failures.is_some_and(|failures| *failures < TRIES);
                return Some(Run::Look(index, Look::new(target, port, child, willing)));
            }
        }
        let due = self.class.due().is_some_and(|due| now >= due);
        due.then_some(Run::Class)
    }

    /// Takes the run's next step with what came of the last one: a request's result, or else the beginning
    /// or the end of a wait.
    fn step(&mut self, result: Option<Result<usize, TransferError>>, now: u64) {
        let Self {
            run: Some(run),
            class,
            devices,
            memory,
            pipe,
            ..
        } = self
        else {
            self.pipe = Pipe::Free;
            return;
        };
        let answer = match (result, *pipe) {
            (Some(Ok(bytes)), _) => Answer::Data(Control::answer(memory, bytes)),
            (Some(Err(error)), _) => Answer::Failed(error),
            (None, Pipe::Waiting { .. }) => Answer::Waited,
            (None, _) => Answer::Begin,
        };
        let step = match run {
            Run::Enumerate(_, enumeration) => enumeration.step(answer, class),
            Run::SetUp(index, set_up) => {
                let device = devices.get(*index).and_then(Option::as_ref);
                match device.map(|device| device.role) {
                    Some(Role::Hub(hub)) => set_up.step(answer, hub.configuration),
                    _ => Step::Failed,
                }
            }
            Run::Look(_, look) => look.step(answer),
            Run::Off(hub, port) => match (answer, devices.get(*hub).and_then(Option::as_ref)) {
                (Answer::Begin, Some(device)) => Step::Ask(device.target, hub::off(*port)),
                _ => Step::Done,
            },
            Run::Class => class.step(answer, now),
        };
        self.take(step, now);
    }

    fn take(&mut self, step: Step, now: u64) {
        if let Some(Run::Look(hub, look)) = &mut self.run
            && core::mem::take(&mut look.lost)
        {
            let (hub, port) = (*hub, look.port());
            if let Some(child) = self.child(hub, port) {
                self.remove(child);
            }
        }
        match step {
            Step::Ask(target, request) => self.ask(target, request, now),
            Step::Wait(time) => {
                self.pipe = Pipe::Waiting {
                    until: now.saturating_add(time),
                }
            }
            Step::Done | Step::Failed => {
                self.pipe = Pipe::Free;
                let run = self.run.take();
                if let Some(run) = run {
                    self.over(run, matches!(step, Step::Done), now);
                }
            }
        }
    }

    fn ask(&mut self, target: Target, request: Request, now: u64) {
        self.control
            .start(target, request, &mut self.controller, &mut self.memory, now);
        self.pipe = Pipe::Asked;
    }

    /// Does what follows from a run that is over, well or not.
    fn over(&mut self, run: Run, well: bool, now: u64) {
        match run {
            Run::Enumerate(index, enumeration) if well => self.enumerated(index, &enumeration),
            Run::Enumerate(index, _) => self.failed(index, now),
            Run::SetUp(index, set_up) => match (well, set_up.hub, self.hub_mut(index)) {
                (true, Some(found), Some(hub)) => {
                    hub.ports = found.ports;
                    hub.unseen = hub.all_ports();
                }
                _ => self.failed(index, now),
            },
            Run::Look(index, look) => self.looked(index, &look, well, now),
            Run::Off(..) => {}
            Run::Class if well => self.class_works(),
            Run::Class => self.restart_or_fail(now),
        }
    }

    /// The class driver says that its device does not do what it must.
    fn restart_or_fail(&mut self, now: u64) {
        let function = self.devices.iter().position(|device| {
            let device = device.as_ref();
            device.is_some_and(Device::is_function)
        });
        if let Some(index) = function {
            self.failed(index, now);
        }
    }

    /// The class driver got what it asked for: earlier failures of its device no longer count.
    fn class_works(&mut self) {
        let function = self
            .devices
            .iter()
            .flatten()
            .find(|device| device.is_function());
        match function.map(|device| device.parent) {
            Some(Some((hub, port))) => {
                let hub = self.hub_mut(hub);
                if let Some(failures) = hub.and_then(|hub| hub.failures.get_mut(usize::from(port)))
                {
                    *failures = 0;
                }
            }
            Some(None) => self.root_failures = 0,
            None => {}
        }
    }

    fn enumerated(&mut self, index: usize, enumeration: &Enumeration) {
        let target = enumeration.target;
        let role = match enumeration.found {
            Found::Hub {
                configuration,
                changes,
            } => Role::Hub(Hub::new(configuration, changes)),
            Found::Function if self.class.accept(target) => Role::Function,
            Found::Function => Role::Other,
        };
        if let Some(Some(device)) = self.devices.get_mut(index) {
            device.target = target;
            device.role = role;
        }
    }

    fn looked(&mut self, index: usize, look: &Look, well: bool, now: u64) {
        let Some(hub) = self.hub_mut(index) else {
            return;
        };
        let port = look.port();
        hub.unseen &= !(1 << (port & 15));
        if let Some(failures) = hub.failures.get_mut(usize::from(port)) {
            if look.replugged {
                *failures = 0;
            }
            if look.refused {
                *failures = TRIES;
            }
            if look.unusable {
                *failures = failures.saturating_add(1);
                hub.unseen |= 1 << (port & 15);
            }
        }
        if well {
            hub.own_failures = 0;
            if let Some(speed) = look.new {
                self.add(Some((index, port)), speed);
            }
            return;
        }
        hub.own_failures = hub.own_failures.saturating_add(1);
        if hub.own_failures >= TRIES {
            self.failed(index, now);
        } else {
            hub.unseen |= 1 << (port & 15);
        }
    }
}
