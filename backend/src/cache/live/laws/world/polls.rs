//! Gates ask the pool, and proxies the gates.

use super::*;

impl World {
    pub(super) fn ask(&mut self, g: usize) {
        let (pools, at) = (self.at(), self.instant());
        let gate = &mut self.gates[g];
        if gate.parted || gate.hearing.is_some() {
            return;
        }
        let (known, proxies) = (gate.table.untraced(), gate.proxies.to_say(at));
        let reader = Reader {
            gate: &gate.name,
            epoch: gate.table.epoch(),
            signature: &gate.signature,
            purged: gate.purged.now().mark(),
            known: &known,
            proxies: &proxies,
        };
        let read = if self.forgetful {
            self.board.read_seldom(&reader, pools)
        } else {
            self.board.read(&reader, pools)
        };
        let lineage = Arc::new(self.board.epochs.clone());
        gate.hearing = Some((Asked { at, known, proxies }, read, lineage));
    }

    pub(super) fn hear(&mut self, g: usize, comes: bool) {
        let (now, at) = (self.instant(), self.at());
        let gate = &mut self.gates[g];
        let Some((asked, read, lineage)) = gate.hearing.take() else { return };
        // Longer than its patience it doesn't wait.
        if !comes || now.duration_since(asked.at) > steps::PATIENCE {
            return;
        }
        gate.proxies.said(&asked.proxies, asked.at);
        let models = read.heard.map(|heard| live_models(&heard, read.now_ms));
        if let Some(models) = &models {
            gate.models = Arc::new(models.clone());
        }
        let lost = gate.purged.heard(read.purges, asked.at);
        gate.table.set(read.epoch, models, asked.at, &asked.known);
        if !gate.parted {
            say_lost(&mut self.board, lost, at);
        }
        gate.signature = read.signature;
        gate.lineage = lineage;
    }

    pub(super) fn poll(&mut self, p: usize, g: usize) {
        let now = self.instant();
        let (gate, proxy) = (&mut self.gates[g], &mut self.proxies[p]);
        // There is room for so many.
        let _ = gate.proxies.hear(&proxy.name, proxy.epoch, now);
        let answer = match gate.table.standing(proxy.epoch, now) {
            Standing::Newer => {
                let (models, lineage) = (gate.models.clone(), gate.lineage.clone());
                Some(Some((gate.table.epoch(), models, lineage, gate.number())))
            }
            Standing::Same => Some(None),
            Standing::Untraced | Standing::Unknown => None,
        };
        gate.proxies.answered(&proxy.name, now);
        self.given.extend(answer.iter().flatten().map(|(epoch, ..)| *epoch));
        proxy.answers.extend(answer.map(|answer| (self.now_ms, proxy.epoch, answer)));
    }

    pub(super) fn replay(&mut self, g: usize, which: usize) {
        let now = self.instant();
        let Some(at) = which.checked_rem(self.given.len()) else { return };
        let (gate, epoch) = (&mut self.gates[g], self.given[at]);
        let _ = gate.proxies.hear("stranger", epoch, now);
        gate.table.standing(epoch, now);
        gate.proxies.answered("stranger", now);
    }

    pub(super) fn answer(&mut self, p: usize, which: usize) -> Result<(), TestCaseError> {
        let proxy = &mut self.proxies[p];
        if proxy.answers.is_empty() {
            return Ok(());
        }
        let (asked_ms, known, answer) = proxy.answers.swap_remove(which % proxy.answers.len());
        // Since then it has heard more than the gate was told.
        if known != proxy.epoch {
            return Ok(());
        }
        let Some((epoch, models, lineage, purged)) = answer else {
            proxy.trusts_until = proxy.trusts_until.max(asked_ms + PROXY_TRUST_MS);
            return Ok(());
        };
        if epoch <= proxy.epoch {
            return Ok(());
        }
        let taken = models.iter().flat_map(|row| row.generations.iter());
        for generation in taken {
            let forbidden = proxy.forbidden.contains(&generation.0);
            prop_assert!(!forbidden, "{} takes {generation} by {epoch} again", proxy.name);
        }
        let past = self.loads.iter().filter(|(load, _)| lineage.contains(load));
        proxy.forbidden.extend(past.flat_map(|(_, replaced)| replaced).map(|generation| generation.0));
        (proxy.epoch, proxy.models, proxy.purged) = (epoch, models, purged);
        proxy.trusts_until = proxy.trusts_until.max(asked_ms + PROXY_TRUST_MS);
        Ok(())
    }
}
