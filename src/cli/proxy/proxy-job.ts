/** `viommu proxy`: two sockets, a ledger between them, and a view of what passes. @module */
import { type Channel, Errno, type ProxyEvents, VfioUserProxy } from '../../vfio-user/index.ts';
import type { ProxyOptions } from './proxy-options.ts';
import { describeCapabilities, describePlatform } from '../serve/describe-peer.ts';
import { DmaTally } from '../serve/dma-tally.ts';
import { LedgerSnapshot } from '../serve/ledger-snapshot.ts';
import { liveError } from '../serve/live-error.ts';
import { LiveSession } from '../serve/live-session.ts';
import { jsonView, type LiveView, peopleView, type ViewParts } from '../serve/live-view.ts';
import { type LiveListener, type LiveWorld, systemWorld } from '../serve/live-world.ts';
import { ExitCode } from '../terminal/exit-codes.ts';
import type { CommandIo } from '../terminal/io.ts';
import { PassedTraffic } from './passed-traffic.ts';
import { reachServer } from './reach-server.ts';
import { turnAway } from './turn-away.ts';

/** Passes on until it is told to end, or nobody reads what is shown. */
export async function proxy(io: CommandIo, options: ProxyOptions, given?: LiveWorld): Promise<ExitCode> {
  const world = given ?? (await systemWorld());
  return new ProxyJob(io, options, world).run();
}

const ENDED = 'the proxy was told to end';

class ProxyJob {
  readonly #io: CommandIo;
  readonly #options: ProxyOptions;
  readonly #world: LiveWorld;
  readonly #session: LiveSession;
  readonly #vmm: DmaTally = new DmaTally(() => this.#proxy?.mappings() ?? []);
  readonly #server: DmaTally = new DmaTally(() => this.#proxy?.serverMappings() ?? [], 'exact');
  readonly #traffic: PassedTraffic = new PassedTraffic();
  #proxy: VfioUserProxy | undefined;
  /** The VMM that is there, from its connection until everything of it is gone. */
  #serving: Promise<void> | undefined;

  constructor(io: CommandIo, options: ProxyOptions, world: LiveWorld) {
    this.#io = io;
    this.#options = options;
    this.#world = world;
    this.#session = new LiveSession({
      io,
      world,
      view: (parts) => this.#view(parts),
      ledger: (view) => view.ledger(new LedgerSnapshot(this.#proxy?.serverMappings() ?? [])),
    });
  }

  async run(): Promise<ExitCode> {
    const { listen, connect } = this.#options;
    const { view } = this.#session;
    let listener: LiveListener | undefined;
    try {
      listener = await this.#listen();
      const limited = describePlatform(this.#world.platform, false);
      if (limited !== undefined) this.#io.err(`viommu: ${limited}\n`);
      view.say(`listening on ${listen} for a VMM, for the server at ${connect}`);
      await this.#session.ended;
    } finally {
      await listener?.close();
      this.#proxy?.close(ENDED);
      await this.#serving;
      if (listener !== undefined) view.say('ended');
      await this.#session.finish();
    }
    return ExitCode.Ok;
  }

  async #listen(): Promise<LiveListener> {
    try {
      return await this.#world.listen(this.#options.listen, (channel) => this.#accept(channel));
    } catch (error) {
      throw liveError(error);
    }
  }

  #accept(channel: Channel): void {
    if (this.#serving !== undefined) {
      this.#session.view.say('another VMM was turned away: one is there already');
      const gate = this.#session.gate(channel);
      turnAway(gate, Errno.EBUSY, 'another VMM is being served', this.#world.platform.timers);
      return;
    }
    this.#serving = this.#serve(channel).finally(() => {
      this.#serving = undefined;
    });
  }

  async #serve(upstream: Channel): Promise<void> {
    const { view, stopping } = this.#session;
    const { platform } = this.#world;
    const { connect, merge = false } = this.#options;
    const reached = await reachServer(this.#world, connect, stopping, (sentence) => view.say(sentence));
    if ('why' in reached) {
      view.say(`the VMM was refused: ${reached.why}`);
      turnAway(this.#session.gate(upstream), Errno.ENODEV, reached.why, platform.timers);
      return;
    }
    const { files, timers } = platform;
    this.#proxy = new VfioUserProxy({
      upstream: this.#session.gate(upstream),
      downstream: this.#session.gate(reached.channel),
      timers,
      merge,
      events: this.#events(),
      files,
    });
    if (stopping.aborted) this.#proxy.close(ENDED);
    const { message } = await this.#proxy.closed;
    const held = this.#server.mappings > 0 ? `; the server held ${this.#server.heldText()}` : '';
    view.say(`disconnected: ${message}${held}`);
    this.#proxy = undefined;
    this.#vmm.clear();
    this.#server.clear();
  }

  #events(): ProxyEvents {
    const { json = false, verbose = false } = this.#options;
    const { view } = this.#session;
    const events: ProxyEvents = {
      connected: (capabilities) => view.say(`connected: ${describeCapabilities(capabilities)}`),
      asked: (event) => {
        this.#vmm.add(event.op, event);
        view.dma(event.op, event, 'VMM', '"side":"vmm",');
      },
      told: (told) => {
        // Counted by the VMM's mappings where the proxy merged them: for the server it is one.
        const event = { ...told, count: told.result === 'ok' ? 1 : 0 };
        this.#server.add(event.op, event);
        view.dma(event.op, event, 'server', '"side":"server",');
      },
    };
    if (json && !verbose) return events;
    return {
      ...events,
      passed: (message) => {
        this.#traffic.add(message);
        if (verbose) view.passed(message);
      },
    };
  }

  #view(parts: ViewParts): LiveView {
    const { json = false, verbose = false } = this.#options;
    if (json) return jsonView(parts);
    return peopleView(parts, {
      verbose,
      refusals: true,
      summary: (seconds) => {
        const vmm = this.#vmm.takeWindow();
        const server = this.#server.takeWindow();
        const passed = this.#traffic.takeWindow();
        const changed = vmm.maps + vmm.unmaps + server.maps + server.unmaps + passed > 0;
        if (this.#proxy === undefined) return { text: 'waiting for a VMM', changed: false };
        return {
          text:
            `VMM: ${this.#vmm.summaryText(vmm, seconds)} | server: ${this.#server.summaryText(server, seconds)} | ` +
            `passed: ${this.#traffic.text(passed, seconds)}`,
          changed,
        };
      },
    });
  }
}
