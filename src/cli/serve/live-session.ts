import type { Channel } from '../../vfio-user/index.ts';
import type { CommandIo } from '../terminal/io.ts';
import { GatedChannel } from './gated-channel.ts';
import type { LiveView, ViewParts } from './live-view.ts';
import type { LiveWorld } from './live-world.ts';
import { OutputQueue } from './output-queue.ts';

/** Milliseconds that peers have at the end to take what was sent last. */
const LAST_MS = 1000;

/** What a {@link LiveSession} needs of its command. */
export interface LiveSessionOptions {
  readonly io: CommandIo;
  readonly world: LiveWorld;
  readonly view: (parts: ViewParts) => LiveView;
  /** Writes the ledger to the view; resolves when it is written. */
  readonly ledger: (view: LiveView) => Promise<void>;
}

/**
 * A command that goes on until SIGINT, SIGTERM, or the end of whoever reads its output; that shows its ledger when
 * asked to; and that lets its peers wait while its output does.
 */
export class LiveSession {
  readonly view: LiveView;
  readonly #options: LiveSessionOptions;
  readonly #queue: OutputQueue;
  readonly #gates: Set<GatedChannel> = new Set();
  readonly #stops: (() => void)[] = [];
  readonly #ended: Promise<void>;
  readonly #stopping: AbortController = new AbortController();
  /** Aborted when no peer is there any more, at the end. */
  readonly #left: AbortController = new AbortController();
  #failure: { readonly error: unknown } | undefined;
  #outputFull = false;
  #signalled = false;

  /** Listens to signals at once: SIGUSR1 without a listener would start a debugger. */
  constructor(options: LiveSessionOptions) {
    const { io, world } = options;
    this.#options = options;
    this.#ended = new Promise((resolve) => {
      this.#stopping.signal.addEventListener('abort', () => resolve());
    });
    this.#queue = new OutputQueue(
      (text) => io.out(text),
      (full) => this.#setOutputFull(full),
      (error) => {
        this.#failure ??= { error };
        this.#stopping.abort();
      },
    );
    this.view = options.view({ io, queue: this.#queue, clock: world.clock });
    const { controls } = world;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      this.#stops.push(controls.onSignal(signal, () => this.#stopping.abort()));
    }
    this.#stops.push(
      controls.onSignal('SIGUSR1', () => void this.#ledgerBySignal()),
      controls.onLine((line) => this.#order(line)),
    );
  }

  /** `channel`, read only while output does not lag behind. */
  gate(channel: Channel): Channel {
    const gate: GatedChannel = new GatedChannel(channel, () => {
      this.#gates.delete(gate);
      if (this.#stopping.signal.aborted && this.#gates.size === 0) this.#left.abort();
    });
    this.#gates.add(gate);
    gate.setShut(this.#outputFull);
    return gate;
  }

  /** Resolves when the command has to end. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** Aborted when the command has to end. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /**
   * Call it last, when the connections are closed. Resolves when everything is written and every peer has taken what was
   * sent to it, or had its time for that; rejects with what made writing impossible.
   */
  async finish(): Promise<void> {
    // From here on a second SIGINT ends the process, whatever it waits for.
    for (const stop of this.#stops) stop();
    this.view.end();
    await Promise.all([this.#writeRest(), this.#endPeers()]);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Whoever has stopped reading must not keep the command from ending. */
  async #writeRest(): Promise<void> {
    const written = new AbortController();
    const drained = this.#queue.drained().then(() => written.abort());
    await Promise.race([drained, this.#options.world.clock.wait(LAST_MS, written.signal)]);
    if (written.signal.aborted) return;
    const { io } = this.#options;
    io.err('viommu: standard output is not being read, and what was still to be written there is lost\n');
    io.giveUp();
  }

  async #endPeers(): Promise<void> {
    if (this.#gates.size > 0) await this.#options.world.clock.wait(LAST_MS, this.#left.signal);
    for (const gate of this.#gates) gate.close(true);
  }

  #setOutputFull(full: boolean): void {
    this.#outputFull = full;
    for (const gate of this.#gates) gate.setShut(full);
  }

  /** Signals that come while the ledger is being written are one, as signals are. */
  async #ledgerBySignal(): Promise<void> {
    if (this.#signalled) return;
    this.#signalled = true;
    await this.#options.ledger(this.view);
    this.#signalled = false;
  }

  async #order(line: string): Promise<void> {
    const order = line.trim();
    if (order === 'ledger') await this.#options.ledger(this.view);
    else if (order !== '') this.view.say('standard input: the only line that is understood is "ledger"');
  }
}
