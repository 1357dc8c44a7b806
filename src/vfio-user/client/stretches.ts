import { HostRefusedError, type HostRefusal } from '../../vfio/index.ts';

/** The operations between two barriers. */
export interface Stretch {
  /** Not sent yet. */
  unsent: number;
  /** Not dealt with yet, those not sent included. */
  open: number;
  readonly refusals: HostRefusal[];
}

/** A stretch with a barrier at its end that waits. */
interface Ended {
  readonly stretch: Stretch;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Which operations a barrier waits for, and which refusals it tells of: those between the one before it and itself. */
export class Stretches {
  /** Those that a barrier waits for, oldest first. */
  readonly #ended: Ended[] = [];
  /** The one that operations are added to. */
  #last: Stretch = newStretch();

  /** An operation was queued. */
  added(): void {
    this.#last.unsent++;
    this.#last.open++;
  }

  /** The oldest operation that was queued and not sent is being sent. Its stretch, for {@link dealtWith}. */
  sent(): Stretch {
    let stretch = this.#last;
    for (const ended of this.#ended) {
      if (ended.stretch.unsent === 0) continue;
      stretch = ended.stretch;
      break;
    }
    stretch.unsent--;
    return stretch;
  }

  /** An operation of `stretch` took effect, or was refused. Operations must be dealt with in their order. */
  dealtWith(stretch: Stretch, refusal: HostRefusal | undefined): void {
    if (refusal !== undefined) stretch.refusals.push(refusal);
    stretch.open--;
    for (
      let first = this.#ended[0];
      first !== undefined && first.stretch.open === 0;
      first = this.#ended[0]
    ) {
      this.#ended.shift();
      const { refusals } = first.stretch;
      if (refusals.length === 0) first.resolve();
      else first.reject(new HostRefusedError(refusals));
    }
  }

  /** Whether a barrier asked for now would have to wait. */
  get areOpen(): boolean {
    return this.#last.open > 0 || this.#ended.length > 0;
  }

  /** Ends the stretch, with nothing open. Throws HostRefusedError when some of it was refused. */
  end(): void {
    const { refusals } = this.#last;
    if (refusals.length === 0) return;
    this.#last = newStretch();
    throw new HostRefusedError(refusals);
  }

  /** Ends the stretch; settles when it, and all before it, were dealt with. */
  endLater(): Promise<void> {
    const stretch = this.#last;
    this.#last = newStretch();
    return new Promise((resolve, reject) => this.#ended.push({ stretch, resolve, reject }));
  }

  /** Rejects all barriers that wait. */
  lose(error: Error): void {
    for (const { reject } of this.#ended.splice(0)) reject(error);
  }
}

function newStretch(): Stretch {
  return { unsent: 0, open: 0, refusals: [] };
}
