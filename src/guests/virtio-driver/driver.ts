/**
 * A guest's driver of a virtio-iommu device: real virtqueues in guest memory, requests and fault reports through them.
 *
 * @example
 * ```ts
 * const driver = new VirtioIommuGuestDriver({ memory, transport, allocator: new PageAllocator(ram) });
 * await driver.boot();
 * await driver.attach(requesterId(2, 0, 0), 1);
 * const { status } = await driver.map(1, 0x1000, 16, 0x40000, Access.ReadWrite);
 * ```
 *
 * @module
 */
import { Access, type AddressSpace, addressOf } from '../../memory/index.ts';
import { spec } from '../../models/virtio/index.ts';
import { GuestDriverError } from '../driver/error.ts';
import { DriverPages } from '../driver/pages.ts';
import type { PageAllocator } from '../page-allocator.ts';
import { readConfig } from './config.ts';
import { type EventBuffers, EventQueue } from './event-queue.ts';
import { RequestQueue, type RequestResult } from './request-queue.ts';
import { partsOf, type VirtioIommuRequest } from './requests.ts';
import type { VirtioTransport } from './transport.ts';

/** What a driver works with. */
export interface VirtioIommuGuestDriverOptions {
  /** Guest-physical memory: where queues and buffers are written. */
  readonly memory: AddressSpace;
  readonly transport: VirtioTransport;
  /** Pages that the driver may take for queues and buffers: one or more for each request in flight. */
  readonly allocator: PageAllocator;
}

/** How a driver sets a device up. */
export interface VirtioBootOptions {
  /** Feature bits to accept of those offered; all that the driver knows when left out. */
  readonly features?: bigint;
  /** Descriptors of each queue: the most that the device takes when left out. */
  readonly queueSize?: number;
  /** 16 buffers of the size of a report when left out. */
  readonly events?: EventBuffers;
}

/** How requests are laid out. */
export interface SubmitOptions {
  /** The descriptors of each request stand in a table of their own; the device must have VIRTIO_F_INDIRECT_DESC. */
  readonly indirect?: boolean;
}

/** What came of a PROBE request. */
export interface ProbeResult extends RequestResult {
  /** The RESV_MEM properties; none when the request failed. All properties are in `written`. */
  readonly reserved: readonly spec.ReservedMemory[];
}

const KNOWN_FEATURES = [
  spec.VIRTIO_F_INDIRECT_DESC,
  spec.VIRTIO_F_VERSION_1,
  spec.VIRTIO_IOMMU_F_INPUT_RANGE,
  spec.VIRTIO_IOMMU_F_DOMAIN_RANGE,
  spec.VIRTIO_IOMMU_F_MAP_UNMAP,
  spec.VIRTIO_IOMMU_F_PROBE,
  spec.VIRTIO_IOMMU_F_MMIO,
  spec.VIRTIO_IOMMU_F_BYPASS_CONFIG,
].reduce((bits, feature) => bits | feature, 0n);

/** What exists once the driver runs. */
interface Running {
  readonly features: bigint;
  readonly config: spec.VirtioIommuConfig;
  readonly requests: RequestQueue;
  readonly events: EventQueue;
}

/**
 * The driver. It checks nothing of what a request says: the device's answer is what it is for. Requests reach the device in
 * the order of the calls, awaited or not. Promises reject with GuestDriverError, PageAllocatorError, or what the
 * transport rejected with.
 */
export class VirtioIommuGuestDriver {
  readonly #pages: DriverPages;
  readonly #transport: VirtioTransport;
  #running: Running | undefined;

  constructor(options: VirtioIommuGuestDriverOptions) {
    this.#pages = new DriverPages(options.memory, options.allocator);
    this.#transport = options.transport;
  }

  /** Feature bits that were negotiated. GuestDriverError `state` before `boot`. */
  get features(): bigint {
    return this.#run().features;
  }

  /** The device configuration, as it was at boot. GuestDriverError `state` before `boot`. */
  get config(): spec.VirtioIommuConfig {
    return this.#run().config;
  }

  /**
   * Resets the device and sets it up (virtio 1.3, 3.1.1). A driver that ran before starts anew: what it had in flight
   * rejects.
   *
   * @throws GuestDriverError `unsupported` when the device lacks VIRTIO_F_VERSION_1 or a queue, or refuses the features
   */
  async boot(options: VirtioBootOptions = {}): Promise<void> {
    const transport = this.#transport;
    await this.reset();
    await transport.writeStatus(spec.ACKNOWLEDGE);
    await transport.writeStatus(spec.ACKNOWLEDGE | spec.DRIVER);
    const features = (await transport.features()) & (options.features ?? KNOWN_FEATURES);
    await transport.acceptFeatures(features);
    const accepted = spec.ACKNOWLEDGE | spec.DRIVER | spec.FEATURES_OK;
    await transport.writeStatus(accepted);
    if (((await transport.readStatus()) & spec.FEATURES_OK) === 0) {
      await transport.writeStatus(spec.FAILED);
      throw new GuestDriverError(
        'unsupported',
        `the device does not accept the features 0x${features.toString(16)}; boot with others`,
      );
    }
    const config = await readConfig(transport, features);
    const requestSize = await this.#queueSize(spec.REQUESTQ, options.queueSize);
    const eventSize = await this.#queueSize(spec.EVENTQ, options.queueSize);
    const buffers = options.events ?? { count: Math.min(16, eventSize), bytes: spec.FAULT_BYTES };
    const requests = new RequestQueue(this.#pages, transport, requestSize);
    const events = new EventQueue(this.#pages, transport, eventSize, buffers);
    await transport.setUpQueue(spec.REQUESTQ, requests.areas);
    await transport.setUpQueue(spec.EVENTQ, events.areas);
    await transport.writeStatus(accepted | spec.DRIVER_OK);
    await events.notify();
    this.#running = { features, config, requests, events };
  }

  /** Resets the device: endpoints are attached to nothing afterwards, and the driver has to boot. What is in flight rejects. */
  async reset(): Promise<void> {
    const transport = this.#transport;
    await transport.writeStatus(0);
    for (let round = 0; (await transport.readStatus()) !== 0; round++) {
      if (round === RESET_PATIENCE) {
        throw new GuestDriverError('stuck', 'the device does not reset: its status does not become 0');
      }
      // eslint-disable-next-line no-await-in-loop -- a driver that polls
      await transport.settled();
    }
    const running = this.#running;
    this.#running = undefined;
    running?.requests.end();
    running?.events.end();
  }

  /** Attaches `endpoint` to `domain`, which comes into being by it. */
  attach(endpoint: number, domain: number, flags = 0): Promise<RequestResult> {
    return this.request({ type: spec.T_ATTACH, endpoint, domain, flags, reserved: 0 });
  }

  /** Detaches `endpoint` from `domain`. */
  detach(endpoint: number, domain: number): Promise<RequestResult> {
    return this.request({ type: spec.T_DETACH, endpoint, domain });
  }

  /** Maps `pages` (at least one) pages at page `iova` to those at page `target`. */
  map(domain: number, iova: number, pages: number, target: number, access: Access): Promise<RequestResult> {
    return this.request({
      type: spec.T_MAP,
      domain,
      virt_start: addressOf(iova),
      virt_end: addressOf(iova + pages) - 1n,
      phys_start: addressOf(target),
      flags:
        ((access & Access.Read) === 0 ? 0 : spec.MAP_F_READ) |
        ((access & Access.Write) === 0 ? 0 : spec.MAP_F_WRITE),
    });
  }

  /** Removes the mappings in the `pages` (at least one) pages at page `iova`. */
  unmap(domain: number, iova: number, pages: number): Promise<RequestResult> {
    const virt_end = addressOf(iova + pages) - 1n;
    return this.request({ type: spec.T_UNMAP, domain, virt_start: addressOf(iova), virt_end, reserved: 0 });
  }

  /** Asks for the properties of `endpoint`. */
  async probe(endpoint: number): Promise<ProbeResult> {
    const result = await this.request({ type: spec.T_PROBE, endpoint });
    const properties = result.written.subarray(0, this.#run().config.probe_size);
    return { ...result, reserved: result.status === spec.S_OK ? spec.decodeReservedMemory(properties) : [] };
  }

  /** Submits one request of any content. */
  request(request: VirtioIommuRequest, options: SubmitOptions = {}): Promise<RequestResult> {
    try {
      return this.submit([request], options)[0] as Promise<RequestResult>;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Submits several requests with one notification, as far as the queue has room for them.
   *
   * @throws GuestDriverError `state` before `boot`, `bad-argument` for a raw request that no queue of this size can hold,
   *   or an indirect one where VIRTIO_F_INDIRECT_DESC was not negotiated
   */
  submit(requests: readonly VirtioIommuRequest[], options: SubmitOptions = {}): Promise<RequestResult>[] {
    const { requests: queue, config, features } = this.#run();
    const indirect = options.indirect === true;
    if (indirect && (features & spec.VIRTIO_F_INDIRECT_DESC) === 0n) {
      throw new GuestDriverError(
        'bad-argument',
        'indirect descriptors need VIRTIO_F_INDIRECT_DESC, which was not negotiated',
      );
    }
    return queue.submit(
      requests.map((request) => partsOf(request, config.probe_size)),
      indirect,
    );
  }

  /** The reports that came since the last call, in their order. Their buffers go back to the device. */
  async faults(): Promise<readonly spec.FaultReport[]> {
    await this.#transport.settled();
    const { faults, told } = this.#run().events.take();
    await told;
    return faults;
  }

  /** Writes the field `bypass` of the device configuration; {@link config} stays as it was. */
  async writeBypass(bypass: number): Promise<void> {
    await this.#transport.writeConfig(spec.BYPASS_OFFSET, BigInt(bypass), 1);
  }

  async #queueSize(index: number, wanted: number | undefined): Promise<number> {
    const most = await this.#transport.maxQueueSize(index);
    if (most > 0) return Math.min(most, wanted ?? most);
    throw new GuestDriverError('unsupported', `the device has no queue ${index}, so it is no virtio-iommu`);
  }

  #run(): Running {
    if (this.#running !== undefined) return this.#running;
    throw new GuestDriverError('state', 'the driver does not run; call boot() first');
  }
}

/** Rounds in which a device that has had its time may still be in its reset. */
const RESET_PATIENCE = 1000;
