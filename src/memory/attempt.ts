/** Changes on trial: how a model that can refuse its guest learns whether everybody can follow. @module */
import type { PageRange } from './pages.ts';

/** Something that a listener could not follow while an attempt was open. */
export interface AttemptRefusal {
  /** Pages of the address space that it could not map; undefined when it is no single mapping. */
  readonly range: PageRange | undefined;
  /** One sentence for people, without its full stop. */
  readonly reason: string;
}

/**
 * An open attempt. A model opens it, makes its change, waits for the barrier, and looks at `refusals`. If there are any
 * it takes its change back in the same way, and waits for the barrier again. Then it ends the attempt, and waits once
 * more when there were refusals.
 */
export interface Attempt {
  /** What could not be followed so far; known in full after a barrier. */
  readonly refusals: readonly AttemptRefusal[];
  /**
   * Ends the attempt: listeners look again at what they could not follow. What has been taken back is no longer asked
   * for; what is asked for still, and refused again, is a failure like any other. Ending twice does nothing.
   */
  end(): void;
}

/** Where attempts are opened: an address space. */
export interface Attemptable {
  attempt(): Attempt;
}

/** One attempt over several spaces, such as those of all endpoints of a domain. */
export function openAttempt(spaces: Iterable<Attemptable>): Attempt {
  return joinAttempts([...spaces].map((space) => space.attempt()));
}

/** Several attempts as one. */
export function joinAttempts(parts: readonly Attempt[]): Attempt {
  return {
    get refusals(): readonly AttemptRefusal[] {
      return parts.flatMap((part) => part.refusals);
    },
    end: () => {
      for (const part of parts) part.end();
    },
  };
}
