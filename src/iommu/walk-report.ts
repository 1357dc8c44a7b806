/** What a walk cost and met. @module */
import type { TranslationFault } from '../memory/index.ts';

/** How much a walk may cost before it is cut. Tables are the guest's; a few pages of them can describe 2^48 leaves. */
export interface WalkBudget {
  /** Table entries that may be read. */
  readonly entries: number;
  /** Leaves that may be visited, faults that may be met, and entries without access that may be passed over, together. */
  readonly leaves: number;
}

/** 2^28 entries (about half a second of scanning) and 2^22 leaves (16 GiB in 4 KiB pages). */
export const DEFAULT_WALK_BUDGET: WalkBudget = { entries: 2 ** 28, leaves: 2 ** 22 };

/** A part of the input range that a fault of the tables hides: nothing in it is mapped. */
export interface WalkFault {
  /** First page hidden. */
  readonly iova: number;
  /** Pages hidden. */
  readonly pages: number;
  readonly fault: TranslationFault;
}

/** Faults that a report lists; further ones are only counted, for a guest can make any number of them. */
const FAULTS_LISTED = 16;

/** Filled while a walk goes on; shared by the walks of nested stages, so that one budget covers them all. */
export class WalkReport {
  readonly budget: WalkBudget;
  /** Table entries read. */
  entries = 0;
  /** Leaves visited. */
  leaves = 0;
  /** Faults met; the first sixteen are in `faults`. */
  faultCount = 0;
  readonly faults: WalkFault[] = [];
  /** Entries passed over because no access is allowed through them, other than leaves of their level's regular size. */
  withoutAccess = 0;
  /** First page that was not looked at because the budget was used up. */
  cutAt: number | undefined;

  constructor(budget: WalkBudget = DEFAULT_WALK_BUDGET) {
    this.budget = budget;
  }

  addFault(iova: number, pages: number, fault: TranslationFault): void {
    this.faultCount++;
    if (this.faults.length < FAULTS_LISTED) this.faults.push({ iova, pages, fault });
  }

  /** Whether what was met has left any of the budget; if not, the walk is cut at page `iova`. */
  mayGoOn(iova: number): boolean {
    if (this.leaves + this.faultCount + this.withoutAccess <= this.budget.leaves) return true;
    this.cutAt = iova;
    return false;
  }
}
