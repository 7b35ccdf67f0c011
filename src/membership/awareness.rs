//! Local health: how much this node distrusts itself [Lifeguard §IV-A].
//!
//! Decides by what factor this node's own timeouts are stretched, and how many unanswered pings are
//! evidence on this network. It says nothing about any one member.

/// The worst score.
pub(super) const MAX_SCORE: u32 = 8;

/// The fewest unanswered pings that are evidence of a death.
pub(super) const MIN_EVIDENCE: u32 = 12;
/// The most that are asked for, however lossy the network.
pub(super) const MAX_EVIDENCE: u32 = 48;

/// Local health and the loss that this node sees.
#[derive(Clone, Debug, Default)]
pub(super) struct Awareness {
    score: u32,
    /// Share of direct pings to members in good standing that went unanswered, in 1/65,536.
    loss: u32,
}

impl Awareness {
    /// 0 when this node trusts itself, at most [`MAX_SCORE`].
    pub(super) const fn score(&self) -> u32 {
        self.score
    }

    /// By how much timeouts are stretched.
    pub(super) const fn factor(&self) -> u32 {
        self.score + 1
    }

    pub(super) fn worsen(&mut self) {
        self.score = (self.score + 1).min(MAX_SCORE);
    }

    pub(super) const fn improve(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// Takes note of one direct ping to a member in good standing.
    pub(super) const fn pinged(&mut self, answered: bool) {
        self.loss -= self.loss / 16;
        if !answered {
            self.loss += 65_536 / 16;
        }
    }

    /// How many pings in a row a live member leaves unanswered less than once in 100,000 times, at
    /// the loss that this node sees, or at that member's own if it is worse.
    pub(super) fn evidence(&self, member_loss_permille: u16) -> u32 {
        let loss = self.loss.max(u32::from(member_loss_permille) * 65_536 / 1_000).min(65_536);
        // The estimates are of few samples: about one standard deviation is added.
        let loss = loss + loss * ((65_536 - loss) / 256) / 512;
        let mut chance = 65_536_u64;
        for pings in 1..MAX_EVIDENCE {
            chance = chance * u64::from(loss) / 65_536;
            // 65,536 / 100,000 is less than one unit.
            if chance == 0 {
                return pings.max(MIN_EVIDENCE);
            }
        }
        MAX_EVIDENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_stays_between_zero_and_the_worst() {
        let mut awareness = Awareness::default();
        awareness.improve();
        assert_eq!(awareness.factor(), 1);
        for _ in 0..20 {
            awareness.worsen();
        }
        assert_eq!(awareness.score(), MAX_SCORE);
    }

    #[test]
    fn more_loss_asks_for_more_evidence() {
        let evidence_at = |answered_of_ten: u32| {
            let mut awareness = Awareness::default();
            for ping in 0..200 {
                awareness.pinged(ping % 10 < answered_of_ten);
            }
            awareness.evidence(0)
        };
        assert_eq!(evidence_at(10), MIN_EVIDENCE);
        assert!(evidence_at(6) > MIN_EVIDENCE);
        assert!(evidence_at(3) > evidence_at(6));
        assert_eq!(evidence_at(0), MAX_EVIDENCE);
    }
}
