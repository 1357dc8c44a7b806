/** Waits, in milliseconds, that are longer than the budget and this are silence: looking would not have helped. */
const SILENCE = 0.5;
/** Waits by which one way is judged. */
const TRIAL = 32;
/** Trials for which the better way is kept before both are tried again. */
const KEPT_TRIALS = 16;
/** Looking costs processor time, so it has to be this much better. */
const WORTH = 0.9;

/**
 * Decides whether a channel should look for the next message before it sleeps, and for how long. A wake-up through the
 * event loop may cost 15 us or 70, and looking may take the very processor that the peer needs to answer, so only trying
 * tells: both ways are tried by turns and the one with the shorter waits is kept for a while. After a silence there
 * is no looking until messages follow each other again.
 */
export class SpinBudget {
  readonly #max: number;
  #waitingSince = 0;
  #brisk = false;
  #judging = false;
  #looks = false;
  #stage: 'sleep' | 'look' | 'keep' = 'sleep';
  #kept = 0;
  #sum = 0;
  #count = 0;
  #meanAsleep = 0;

  /** `max` in microseconds; 0 never looks. */
  constructor(max: number) {
    this.#max = max / 1000;
  }

  /** Milliseconds to look for the next message. */
  get current(): number {
    return this.#looks && this.#brisk ? this.#max : 0;
  }

  /** Everything is handled at `now`, in milliseconds, and the wait for the next message begins. */
  waits(now: number): void {
    this.#waitingSince = now;
    this.#judging = this.#brisk;
  }

  /** The next message is there at `now`. */
  arrived(now: number): void {
    const wait = now - this.#waitingSince;
    this.#brisk = wait <= this.#max + SILENCE;
    if (!this.#brisk || !this.#judging || this.#max === 0) return;
    this.#judging = false;
    this.#sum += wait;
    if (++this.#count < TRIAL) return;
    this.#judge(this.#sum / this.#count);
    this.#sum = 0;
    this.#count = 0;
  }

  #judge(mean: number): void {
    if (this.#stage === 'sleep') {
      this.#meanAsleep = mean;
      this.#stage = 'look';
      this.#looks = true;
    } else if (this.#stage === 'look') {
      this.#stage = 'keep';
      this.#kept = 0;
      this.#looks = mean < this.#meanAsleep * WORTH;
    } else if (++this.#kept === KEPT_TRIALS) {
      this.#stage = 'sleep';
      this.#looks = false;
    }
  }
}
