import type { Mapping } from '../../iommu/index.ts';
import type { HostIommu, HostIommuLimits, RamSlice } from '../../vfio/index.ts';
import type { CloseReason } from '../close-reason.ts';
import type { Connection } from '../connection.ts';
import type { Descriptor } from '../descriptor.ts';
import type { DeviceInfo, IrqInfo, SetIrqs, VersionMessage } from '../wire/index.ts';
import type { DeviceRegionInfo } from './device-access.ts';
import type { VfioUserClientOptions } from './options.ts';
import { ClientSession } from './session.ts';

const CLOSED = 'the client was closed';

/**
 * The client's side of vfio-user: a device in another process, and the host IOMMU for what that device may reach.
 *
 * Maps and unmaps are sent without waiting for their answers; {@link barrier} waits for all of them. RAM that lies in a
 * file, a `SharedRamBlock`, is passed by its descriptor where the connection can do that. The server reaches all other
 * RAM by messages, which the client answers, for what is mapped and as the mapping allows.
 *
 * @example
 * const { timers } = linuxPlatform();
 * const client = await VfioUserClient.connect({ open: () => connect('/run/device.sock'), timers });
 * const device = await machine.plug({ bus: machine.pci, device: 3, name: 'device' }, client);
 */
export class VfioUserClient implements HostIommu {
  readonly name: string;
  readonly #options: VfioUserClientOptions;
  #session: ClientSession;
  /** The connection of an opening that is under way. */
  #opening: Connection | undefined;
  #reopening: Promise<void> | undefined;
  #closed = false;
  #lostListener: (() => void) | undefined;

  private constructor(options: VfioUserClientOptions, session: ClientSession) {
    this.name = session.name;
    this.#options = options;
    this.#session = session;
    this.#watch(session);
  }

  /**
   * Connects: opens a channel, agrees on a version, and asks what the device is.
   *
   * @throws what `open` throws; UnusableServerError, ServerRefusedError or ConnectionLostError
   */
  static async connect(options: VfioUserClientOptions): Promise<VfioUserClient> {
    return new VfioUserClient(options, await ClientSession.open(options));
  }

  /** The server's answer to VERSION. */
  get version(): VersionMessage {
    return this.#session.agreement.version;
  }

  /** What the device is. */
  get info(): DeviceInfo {
    return this.#session.agreement.info;
  }

  /** What the server announced. Others may hold after {@link reopen}. */
  get limits(): HostIommuLimits {
    return this.#session.limits;
  }

  /** Resolves when the present connection is over; never rejects. */
  get closed(): Promise<CloseReason> {
    return this.#session.connection.closed;
  }

  /** Whether RAM is passed by descriptor; otherwise the server reaches all of it by messages. */
  get sharesMemory(): boolean {
    return this.#session.sharesMemory;
  }

  /** Maps and unmaps that the server has not answered. */
  get outstanding(): number {
    return this.#session.pipeline.onTheWay + this.#session.pipeline.waiting;
  }

  /** See {@link HostIommu.map}. */
  map(mapping: Mapping, ram: RamSlice): void {
    this.#session.pipeline.map(mapping, ram);
  }

  /** See {@link HostIommu.unmap}. */
  unmap(iova: number, pages: number): void {
    this.#session.pipeline.unmap(iova, pages);
  }

  /** See {@link HostIommu.barrier}. The error of a lost server is a ConnectionLostError. */
  barrier(): void | Promise<void> {
    return this.#session.pipeline.barrier();
  }

  /** See {@link HostIommu.whenLost}. */
  whenLost(listener: () => void): void {
    this.#lostListener = listener;
  }

  /**
   * Ends the connection, if it has not ended, and opens another. The server has to forget everything of the first: a
   * device that is plugged in then counts as lost, and the release of its container opens the connection itself.
   *
   * @throws what {@link connect} throws; Error when the client was closed
   */
  reopen(): Promise<void> {
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined;
    });
    return this.#reopening;
  }

  /** Ends the connection for good, and an opening that is under way. Unplug first: what is mapped then counts as lost. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#opening?.close(CLOSED);
    this.#end(CLOSED);
    await this.#reopening?.catch(() => {});
    await this.#session.connection.closed;
  }

  /**
   * What a region is (vfio-user DEVICE_GET_REGION_INFO): indices as in `RegionIndex`. Descriptors are the caller's.
   *
   * @throws ServerRefusedError, UnusableServerError or ConnectionLostError, as all that follow
   */
  regionInfo(index: number): Promise<DeviceRegionInfo> {
    return this.#session.device.regionInfo(index);
  }

  /** What an interrupt type is (vfio-user DEVICE_GET_IRQ_INFO): indices as in `IrqIndex`. */
  irqInfo(index: number): Promise<IrqInfo> {
    return this.#session.device.irqInfo(index);
  }

  /** Reads `count` bytes of a region, in as many messages as that takes. */
  readRegion(region: number, offset: bigint, count: number): Promise<Uint8Array> {
    return this.#session.device.readRegion(region, offset, count);
  }

  /** Writes `data`, which must not change until this resolves, to a region, in as many messages as that takes. */
  writeRegion(region: number, offset: bigint, data: Uint8Array): Promise<void> {
    return this.#session.device.writeRegion(region, offset, data);
  }

  /**
   * Sets interrupts up (vfio-user DEVICE_SET_IRQS). With data `eventfd`, one eventfd for each interrupt, where undefined
   * lets an earlier one go, or none at all, which lets all of them go. Eventfds stay the caller's, who may release them
   * when this resolves.
   */
  setIrqs(irqs: SetIrqs, eventfds: readonly (Descriptor | undefined)[] = []): Promise<void> {
    return this.#session.device.setIrqs(irqs, eventfds);
  }

  /** Resets the device (vfio-user DEVICE_RESET). Mappings stay. */
  reset(): Promise<void> {
    return this.#session.device.reset();
  }

  async #reopen(): Promise<void> {
    if (this.#closed) throw this.#closedError();
    this.#end('the connection is opened anew');
    try {
      const session = await ClientSession.open(this.#options, (connection) => {
        this.#opening = connection;
        if (this.#closed) connection.close(CLOSED);
      });
      if (this.#closed) session.end(CLOSED);
      else {
        this.#session = session;
        this.#watch(session);
      }
    } catch (error) {
      if (!this.#closed) throw error;
    } finally {
      this.#opening = undefined;
    }
    if (this.#closed) throw this.#closedError();
  }

  /** Ends the present connection. Whoever has something mapped through it is to hear that it is gone. */
  #end(reason: string): void {
    const { isOpen } = this.#session.connection;
    this.#session.end(reason);
    if (isOpen) this.#lostListener?.();
  }

  #closedError(): Error {
    return new Error(`${this.name} was closed: connect anew`);
  }

  #watch(session: ClientSession): void {
    this.#options.observer?.observe({
      kind: 'server-connected',
      source: this.name,
      message: session.sharesMemory
        ? `${this.name} maps guest RAM that lies in files`
        : `${this.name} reaches guest RAM by messages, for no descriptors can be passed`,
    });
    void this.#lost(session);
  }

  async #lost(session: ClientSession): Promise<void> {
    const { message } = await session.connection.closed;
    if (session.ended) return;
    this.#options.observer?.observe({ kind: 'server-lost', source: this.name, message });
    if (session === this.#session) this.#lostListener?.();
  }
}
