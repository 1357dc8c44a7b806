/** Looking for messages before the event loop sleeps: one look at all channels that may have one soon. @module */
import { SpinBudget } from './spin-budget.ts';

/** Then timers and other descriptors get their turn, however busy the channels are. */
const SESSION_MILLISECONDS = 1;
/** Who has been silent for so long is not looked at any more while others are waited for. */
const SILENT_MILLISECONDS = 5;

/** The channels that have been busy lately: while one is waited for, none of the others may have to wait for that. */
const hot: Set<Spinner> = new Set();
let looking = false;
/** Until when, in milliseconds, the next message is worth looking for. */
let until = 0;
/** Until when it may be looked for before the event loop has to turn; undefined when that has just turned. */
let sessionEnd: number | undefined;

/** A channel's part in looking for the next message. */
export class Spinner {
  readonly #budget: SpinBudget;
  readonly #enabled: boolean;
  readonly #look: (now: number) => void;
  #since = 0;

  /** Looks for `max` microseconds at most. `look` takes what is there at a time in milliseconds. */
  constructor(max: number, look: (now: number) => void) {
    this.#budget = new SpinBudget(max);
    this.#enabled = max > 0;
    this.#look = look;
  }

  /** A message came or went, so the next one may follow soon. */
  expect(): void {
    if (!this.#enabled) return;
    const now = performance.now();
    this.#since = now;
    this.#budget.waits(now);
    hot.add(this);
    if (this.#budget.current === 0) return;
    until = Math.max(until, now + this.#budget.current);
    if (looking || (sessionEnd !== undefined && now >= sessionEnd)) return;
    if (sessionEnd === undefined) {
      sessionEnd = now + SESSION_MILLISECONDS;
      setImmediate(endSession);
    }
    looking = true;
    queueMicrotask(lookAtAll);
  }

  /** A message is there at `now`, in milliseconds. */
  arrived(now: number): void {
    if (this.#enabled) this.#budget.arrived(now);
  }

  /** Nothing is to be looked for any more. */
  stop(): void {
    hot.delete(this);
  }

  /** Looks once, at `now` in milliseconds. */
  look(now: number): void {
    if (now - this.#since > SILENT_MILLISECONDS) hot.delete(this);
    else this.#look(now);
  }
}

/** Each look is a microtask of its own, so that the promises of devices go on in between. */
function lookAtAll(): void {
  const now = performance.now();
  looking = hot.size > 0 && now < until && now < (sessionEnd ?? 0);
  if (!looking) return;
  for (const spinner of hot) spinner.look(now);
  queueMicrotask(lookAtAll);
}

function endSession(): void {
  sessionEnd = undefined;
}
