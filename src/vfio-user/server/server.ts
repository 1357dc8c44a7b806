import {
  AddressSpace,
  ContainerRegion,
  MemoryTopology,
  type Observer,
  PAGES_END,
} from '../../memory/index.ts';
import type { Channel } from '../channel.ts';
import type { CloseReason } from '../close-reason.ts';
import { type Descriptor, releaseAll } from '../descriptor.ts';
import type { Eventfds, SharedFiles, Timers } from '../platform.ts';
import { type Capabilities, DEFAULT_MAX_MSG_FDS, LARGEST_DATA_XFER_SIZE } from '../wire/index.ts';
import { checkDevice } from './check-device.ts';
import { ConfigSpace } from './config-space.ts';
import { DeviceMemory } from './device-memory.ts';
import { DmaTable } from './dma-table.ts';
import { DmaTraffic } from './dma-traffic.ts';
import type { ServerEvents } from './events.ts';
import { FileTable } from './file-table.ts';
import { DeviceInterrupts } from './interrupts.ts';
import { DEFAULT_SERVER_LIMITS, type ServerLimits } from './limits.ts';
import type { PciDevice } from './pci-device.ts';
import { Regions } from './regions.ts';
import type { Served } from './served.ts';
import { Session, type SessionOwner } from './session.ts';

/** What a server is built of. */
export interface VfioUserServerOptions {
  readonly device: PciDevice;
  /** Opens the memory that clients share; without it all guest memory is reached by message. */
  readonly files?: SharedFiles | undefined;
  /** Rings interrupts; without it clients cannot wire any. */
  readonly eventfds?: Eventfds | undefined;
  /** By which clients that stopped answering are found out; without it they may stay forever. */
  readonly timers?: Timers;
  readonly observer?: Observer;
  readonly events?: ServerEvents;
  /** Those that are left out are as in {@link DEFAULT_SERVER_LIMITS}. */
  readonly limits?: Partial<ServerLimits>;
  /**
   * Which maps and unmaps are accepted. `contained`, the default, is as Linux's VFIO type1, which QEMU needs: an unmap
   * removes every mapping inside its range, be it many or none, and is refused (EINVAL) when it would cut one. `exact` is as
   * strict as libvfio-user: an unmap must name one mapping exactly (ENOENT otherwise).
   */
  readonly unmap?: 'contained' | 'exact';
}

/**
 * Serves one PCI device to one client at a time. The device outlives its clients: when one goes, its memory and its
 * interrupts go with it, and the device stays as it is. Source: vfio-user, "Client Disconnection".
 *
 * Commands are carried out in the order in which they came; one that takes its time holds up those behind it, and if its
 * client goes meanwhile, the device finishes it unanswered and may hear from the next client before that. Nothing
 * that a client sends throws: it is refused with an errno, or the connection ends and `events` says why.
 *
 * @example
 * const server = new VfioUserServer({ device, files, eventfds, timers });
 * const listener = await listen('/run/device.sock', (channel) => server.accept(channel));
 */
export class VfioUserServer {
  readonly #served: Served;
  readonly #owner: SessionOwner;
  readonly #timers: Timers | undefined;
  /** Connections, those that have not been admitted included, oldest first. */
  readonly #sessions: Set<Session> = new Set();
  #client: Session | undefined;
  #connections = 0;
  #isClosed = false;

  /** Throws a RangeError when `device`, or a limit, is impossible. Starts the device. */
  constructor(options: VfioUserServerOptions) {
    const { device, eventfds, observer, events } = options;
    checkDevice(device);
    const limits = { ...DEFAULT_SERVER_LIMITS, ...options.limits };
    checkLimits(limits);
    const interrupts: DeviceInterrupts = new DeviceInterrupts(device, {
      eventfds,
      isIntxDisabled: () => config.intxDisabled,
    });
    const config: ConfigSpace = new ConfigSpace(device, {
      isIntxAsserted: () => interrupts.isIntxAsserted,
      intxDisableChanged: () => interrupts.fireIntx(),
    });
    const files = options.files === undefined ? undefined : new FileTable(options.files, limits.maxFiles);
    const unmap = options.unmap ?? 'contained';
    const table = new DmaTable({
      files,
      maxMappings: limits.maxMappings,
      reachablePages: limits.reachablePages,
      unmap,
    });
    const traffic = new DmaTraffic();
    const memory = new DeviceMemory({
      table,
      traffic,
      files: files?.space ?? nowhere(),
      link: () => this.#client?.link,
    });
    const regions = new Regions(device, config, interrupts);
    this.#served = { device, config, interrupts, regions, table, traffic, memory, limits, events, observer };
    this.#timers = options.timers;
    this.#owner = {
      leaving: () => (this.#client?.isOpen === false ? this.#client.closed : undefined),
      admit: (session, capabilities) => this.#admit(session, capabilities),
      ended: (session, reason) => this.#ended(session, reason),
    };
    device.start?.({ memory, interrupts });
  }

  /** Guest memory as the device sees it. */
  get memory(): DeviceMemory {
    return this.#served.memory;
  }

  /** Whether a client is being served. */
  get connected(): boolean {
    return this.#client !== undefined;
  }

  /**
   * Serves the client at the other end of `channel`, which is the server's from now on. While another one is there, it
   * is told so (EBUSY) as soon as it says VERSION, and the connection ends.
   */
  accept(channel: Channel): void {
    if (this.#isClosed) {
      channel.start({ received: release, idle: nothing, drained: nothing, closed: nothing });
      channel.close();
      return;
    }
    const waiting = [...this.#sessions].filter((session) => session !== this.#client);
    if (waiting.length >= this.#served.limits.maxWaiting) {
      waiting[0]?.close('a client was turned away: it has not said VERSION, and others wait');
    }
    const name = `client ${++this.#connections} of ${this.#served.device.name}`;
    const options = { served: this.#served, owner: this.#owner, name, timers: this.#timers };
    this.#sessions.add(new Session(channel, options));
  }

  /**
   * Lets no new DMA begin, by `DeviceMemory` or by its address space, until `resume`; what is tried is refused with
   * EBUSY. Resolves when the DMA that was under way has ended.
   */
  quiesce(): Promise<void> {
    return this.#served.traffic.quiesce();
  }

  /** Lets DMA begin again. */
  resume(): void {
    this.#served.traffic.resume();
  }

  /** Ends every connection and accepts none any more. Resolves when all are over. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const sessions = [...this.#sessions];
    for (const session of sessions) session.close('the server was closed');
    await Promise.all(sessions.map((session) => session.closed));
  }

  #admit(session: Session, capabilities: Capabilities): string | undefined {
    if (this.#client !== undefined) return `another client is using ${this.#served.device.name}`;
    this.#client = session;
    this.#tell('connected', () => this.#served.device.connected?.());
    this.#served.events?.connected?.(capabilities);
    return undefined;
  }

  #ended(session: Session, reason: CloseReason): void {
    this.#sessions.delete(session);
    if (session !== this.#client) {
      // Whoever only looks whether somebody listens is no client.
      if (reason.kind === 'closed-by-peer') return;
      this.#observe('client-turned-away', reason.message);
      return;
    }
    this.#client = undefined;
    const { traffic, table, interrupts, device, events } = this.#served;
    traffic.disconnect();
    table.clear();
    interrupts.disconnect();
    this.#observe('client-gone', reason.message);
    this.#tell('disconnected', () => device.disconnected?.());
    events?.disconnected?.(reason);
  }

  /** Calls the device, whose mistakes are not the server's end. */
  #tell(what: string, call: () => void): void {
    try {
      call();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#observe('device-failed', `the device failed in ${what}: ${message}`);
    }
  }

  #observe(kind: string, message: string): void {
    this.#served.observer?.observe({ kind, source: this.#served.device.name, message });
  }
}

function checkLimits(limits: ServerLimits): void {
  const { maxDataXferSize, maxMsgFds } = limits;
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isInteger(value) || value < 1)
      throw new RangeError(`${name} is ${value}; it is an integer above 0`);
  }
  if (maxDataXferSize < 4096 || maxDataXferSize > LARGEST_DATA_XFER_SIZE) {
    throw new RangeError(
      `maxDataXferSize is ${maxDataXferSize}; 4096 to ${LARGEST_DATA_XFER_SIZE} are possible`,
    );
  }
  if (maxMsgFds > DEFAULT_MAX_MSG_FDS) {
    throw new RangeError(`maxMsgFds is ${maxMsgFds}; clients accept ${DEFAULT_MAX_MSG_FDS} at the most`);
  }
}

/** Where nothing is shared. */
function nowhere(): AddressSpace {
  return new AddressSpace('no files', new ContainerRegion('no files', PAGES_END), new MemoryTopology());
}

function nothing(): void {}

function release(_bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
  releaseAll(descriptors);
}
