import {
  type Attempt,
  type AttemptRefusal,
  openAttempt,
  overlaps,
  type PageRange,
} from '../../memory/index.ts';
import type { EndpointSpace } from './endpoint-space.ts';
import type { EndpointSpaces } from './endpoint-spaces.ts';

/** A change that hosts may refuse. */
export interface Step {
  /** Spaces in which it may be refused. */
  readonly spaces: readonly EndpointSpace[];
  /** Pages that it maps; undefined when any refusal in these spaces is one of it. */
  readonly range: PageRange | undefined;
  /** Takes the change back, and returns the spaces that this concerns. */
  revert(): readonly EndpointSpace[];
  /** Was refused, and has been taken back. */
  refused(reason: string): void;
}

/**
 * Requests that are tried together: all of them are sent to the hosts, and one barrier says which were refused. Those are
 * taken back, which a second barrier confirms, before any of the requests is answered.
 */
export class Trial {
  readonly #spaces: EndpointSpaces;
  readonly #steps: Step[] = [];
  readonly #attempts: Map<EndpointSpace, Attempt> = new Map();
  readonly #touched: Set<EndpointSpace> = new Set();
  /** Whether a request needs to be the only one. */
  isClosed = false;

  constructor(spaces: EndpointSpaces) {
    this.#spaces = spaces;
  }

  /** Whether nothing has been done in it. */
  get isEmpty(): boolean {
    return this.#steps.length === 0 && this.#touched.size === 0;
  }

  /** Whether anything in it may yet be refused. */
  get isOpen(): boolean {
    return this.#steps.length > 0;
  }

  /** What follows in these spaces can be refused; to be called before the first change of them. */
  open(spaces: readonly EndpointSpace[]): void {
    for (const space of spaces) {
      if (!this.#attempts.has(space)) this.#attempts.set(space, openAttempt([space.space]));
    }
  }

  /** A change was made that may be refused. */
  add(step: Step): void {
    this.#steps.push(step);
    this.touch(step.spaces);
  }

  /** Something changed in these spaces: the trial is over only when their hosts have confirmed. */
  touch(spaces: readonly EndpointSpace[]): void {
    for (const space of spaces) this.#touched.add(space);
  }

  /** Returns, or resolves, when every step stands or has been taken back, and all hosts have confirmed. Never rejects. */
  settle(): void | Promise<void> {
    const answer = this.#confirmed();
    return answer === undefined ? this.#judge() : answer.then(() => this.#judge());
  }

  #judge(): void | Promise<void> {
    const refusals = new Map<EndpointSpace, readonly AttemptRefusal[]>();
    for (const [space, attempt] of this.#attempts) {
      const found = attempt.refusals;
      if (found.length > 0) refusals.set(space, found);
    }
    if (refusals.size === 0) {
      this.#end();
      return;
    }
    for (const step of this.#steps.toReversed()) {
      const reason = reasonFor(step, refusals);
      if (reason === undefined) continue;
      this.touch(step.revert());
      step.refused(reason);
    }
    const answer = this.#confirmed();
    return answer === undefined ? this.#conclude() : answer.then(() => this.#conclude());
  }

  /** What is still wanted is asked for again when an attempt ends. */
  #conclude(): void | Promise<void> {
    this.#end();
    return this.#confirmed();
  }

  #end(): void {
    for (const attempt of this.#attempts.values()) attempt.end();
  }

  #confirmed(): void | Promise<void> {
    return this.#spaces.confirmed(this.#touched);
  }
}

function reasonFor(
  { spaces, range }: Step,
  refusals: ReadonlyMap<EndpointSpace, readonly AttemptRefusal[]>,
): string | undefined {
  for (const space of spaces) {
    for (const refusal of refusals.get(space) ?? []) {
      const concerns = range === undefined || refusal.range === undefined || overlaps(range, refusal.range);
      if (concerns) return refusal.reason;
    }
  }
  return undefined;
}
