/** `viommu serve`: a device, a socket, and a view of what is mapped. @module */
import { eduDevice, probeDevice } from '../../devices/index.ts';
import type { Observer } from '../../memory/index.ts';
import {
  type PciDevice,
  type ServerEvents,
  type SharedFiles,
  VfioUserServer,
} from '../../vfio-user/index.ts';
import type { ServeOptions } from './serve-options.ts';
import { ExitCode } from '../terminal/exit-codes.ts';
import type { CommandIo } from '../terminal/io.ts';
import { describeCapabilities, describePlatform } from './describe-peer.ts';
import { DmaTally } from './dma-tally.ts';
import { LedgerSnapshot } from './ledger-snapshot.ts';
import { liveError } from './live-error.ts';
import { LiveSession } from './live-session.ts';
import { jsonView, type LiveView, peopleView, type ViewParts } from './live-view.ts';
import { type LiveListener, type LiveWorld, systemWorld } from './live-world.ts';
import { tellUnsealed } from './tell-unsealed.ts';

/** Serves until it is told to end, or nobody reads what is shown. */
export async function serve(io: CommandIo, options: ServeOptions, given?: LiveWorld): Promise<ExitCode> {
  const world = given ?? (await systemWorld());
  return new ServeJob(io, options, world).run();
}

const UNSEALED =
  'guest memory is in a file that could be cut short (it is no memfd sealed against shrinking), so DMA goes through ' +
  'system calls, which is slower; -object memory-backend-memfd,share=on gives one that is mapped';

class ServeJob {
  readonly #io: CommandIo;
  readonly #options: ServeOptions;
  readonly #world: LiveWorld;
  readonly #session: LiveSession;
  readonly #device: PciDevice;
  readonly #server: VfioUserServer;
  readonly #tally: DmaTally = new DmaTally(() => this.#server.memory.mappings());

  constructor(io: CommandIo, options: ServeOptions, world: LiveWorld) {
    this.#io = io;
    this.#options = options;
    this.#world = world;
    this.#session = new LiveSession({
      io,
      world,
      view: (parts) => this.#view(parts),
      ledger: (view) => view.ledger(new LedgerSnapshot(this.#server.memory.mappings())),
    });
    const observer: Observer = {
      observe: ({ kind, message }) => {
        // Told with what was mapped, by the event.
        if (kind === 'client-gone') return;
        if (kind === 'client-turned-away') this.#session.view.say(message);
        else this.#session.view.remark(message);
      },
    };
    this.#device = options.device === 'edu' ? eduDevice({ observer }) : probeDevice();
    const { eventfds, timers } = world.platform;
    const files = options.messages === true ? undefined : this.#watched(world.platform.files);
    this.#server = new VfioUserServer({
      device: this.#device,
      timers,
      observer,
      events: this.#events(),
      unmap: options.strict === true ? 'exact' : 'contained',
      limits: { maxMappings: options.maxDmaMaps },
      ...(files === undefined ? {} : { files }),
      ...(eventfds === undefined ? {} : { eventfds }),
    });
  }

  async run(): Promise<ExitCode> {
    const { view } = this.#session;
    let listener: LiveListener | undefined;
    try {
      listener = await this.#listen();
      this.#announce();
      await this.#session.ended;
    } finally {
      await listener?.close();
      await this.#server.close();
      if (listener !== undefined) view.say('ended');
      await this.#session.finish();
    }
    return ExitCode.Ok;
  }

  async #listen(): Promise<LiveListener> {
    try {
      return await this.#world.listen(this.#options.socket, (channel) =>
        this.#server.accept(this.#session.gate(channel)),
      );
    } catch (error) {
      throw liveError(error);
    }
  }

  #watched(files: SharedFiles | undefined): SharedFiles | undefined {
    if (files === undefined) return undefined;
    return tellUnsealed(files, () => this.#session.view.say(UNSEALED));
  }

  #announce(): void {
    const { socket, messages = false } = this.#options;
    const limited = describePlatform(this.#world.platform, messages);
    if (limited !== undefined) this.#io.err(`viommu: ${limited}\n`);
    const { name, vendorId, deviceId } = this.#device;
    const ids = [vendorId, deviceId].map((id) => id.toString(16).padStart(4, '0')).join(':');
    this.#session.view.say(`listening on ${socket}: device ${name}, ${ids}`);
  }

  #events(): ServerEvents {
    return {
      connected: (capabilities) => {
        this.#session.view.say(`connected: ${describeCapabilities(capabilities)}`);
      },
      disconnected: ({ message }) => {
        const held =
          this.#tally.mappings > 0 ? `; what was mapped went with it: ${this.#tally.heldText()}` : '';
        this.#tally.clear();
        this.#session.view.say(`disconnected: ${message}${held}`);
      },
      mapped: (event) => {
        this.#tally.add('map', event);
        this.#session.view.dma('map', event);
      },
      unmapped: (event) => {
        this.#tally.add('unmap', event);
        this.#session.view.dma('unmap', event);
      },
    };
  }

  #view(parts: ViewParts): LiveView {
    if (this.#options.json === true) return jsonView(parts);
    return peopleView(parts, {
      verbose: this.#options.verbose === true,
      refusals: false,
      summary: (seconds) => {
        const window = this.#tally.takeWindow();
        const changed = window.maps + window.unmaps > 0;
        if (!this.#server.connected) return { text: changed ? '' : 'waiting for a VMM', changed: false };
        return { text: this.#tally.summaryText(window, seconds), changed };
      },
    });
  }
}
