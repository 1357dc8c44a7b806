import type { AddressSpace, Observer } from '../../memory/index.ts';
import * as spec from './spec/index.ts';
import { isPossible, type QueueSetup, SplitQueue } from './virtqueue/index.ts';

/** What a kind of virtio device is, behind the front that all have in common. */
export interface VirtioFunction {
  /** Device ID (virtio 1.3, 5). */
  readonly deviceId: number;
  /** Name for people. */
  readonly name: string;
  /** Features that are offered; VIRTIO_F_VERSION_1 among them. */
  readonly features: bigint;
  /** Number of queues. */
  readonly queues: number;
  /** Most entries of a queue. */
  readonly queueSizeMax: number;
  /** The configuration space as it is now. */
  config(): Uint8Array;
  /** A driver's write of `data` at byte `offset`, which lies within the configuration space with all of `data`. */
  writeConfig(offset: number, data: Uint8Array): void;
  /** The driver's features were accepted. */
  negotiated(): void;
  /** Buffers may be available in queue `index`. */
  available(index: number): void;
  /** Forgets everything that a driver did; `done` is called, at once or later, when that has taken effect. */
  reset(done: () => void): void;
}

/** Whom a device notifies: the transport. Neither callback may throw. */
export interface VirtioNotifications {
  /** Buffers of queue `index` were used (virtio 1.3, 2.3). */
  usedBuffers?(index: number): void;
  /** The configuration, or the status by the device's own doing, changed. */
  configChanged?(): void;
}

/**
 * The front of a virtio device that every transport needs: identity, status, features, configuration, queues and
 * notifications (virtio 1.3, 2). Whatever a driver asks for in whatever order, nothing here throws.
 */
export class VirtioDevice {
  readonly #function: VirtioFunction;
  readonly #memory: AddressSpace;
  readonly #observer: Observer | undefined;
  readonly #queues: (SplitQueue | undefined)[];
  #status = 0;
  #driverFeatures = 0n;
  #isResetting = false;
  /** To be set by the transport, before the driver starts. */
  notifications: VirtioNotifications = {};

  /** `memory` is where queues and buffers lie. `observer` hears `needs-reset`. */
  constructor(function_: VirtioFunction, memory: AddressSpace, observer: Observer | undefined) {
    this.#function = function_;
    this.#memory = memory;
    this.#observer = observer;
    this.#queues = Array.from({ length: function_.queues }, () => undefined);
  }

  /** Device ID (virtio 1.3, 5). */
  get deviceId(): number {
    return this.#function.deviceId;
  }

  /** Features that the device offers. */
  get features(): bigint {
    return this.#function.features;
  }

  /** Features that the driver has chosen; negotiated once FEATURES_OK is set. */
  get driverFeatures(): bigint {
    return this.#driverFeatures;
  }

  /** Number of queues. */
  get queueCount(): number {
    return this.#queues.length;
  }

  /** Most entries of a queue. */
  get queueSizeMax(): number {
    return this.#function.queueSizeMax;
  }

  /** Device status (virtio 1.3, 2.1). A reset is over when it reads 0. */
  get status(): number {
    return this.#status;
  }

  /** Chooses features; ignored once they are negotiated, until a reset is over. */
  chooseFeatures(features: bigint): void {
    if ((this.#status & spec.FEATURES_OK) === 0 && !this.#isResetting) this.#driverFeatures = features;
  }

  /**
   * A driver's write of the status: 0 begins a reset, bits are added and never taken away. FEATURES_OK is set only when
   * the features chosen were offered, and DRIVER_OK only after it.
   */
  writeStatus(value: number): void {
    if (this.#isResetting) return;
    if (value === 0) {
      this.#reset();
      return;
    }
    const added = value & ~this.#status;
    this.#status |= added & (spec.ACKNOWLEDGE | spec.DRIVER | spec.FAILED);
    if ((added & spec.FEATURES_OK) !== 0 && this.#canAccept()) {
      this.#status |= spec.FEATURES_OK;
      this.#function.negotiated();
    }
    if ((added & spec.DRIVER_OK) === 0 || (this.#status & spec.FEATURES_OK) === 0) return;
    this.#status |= spec.DRIVER_OK;
    // A driver may have made buffers available before (virtio 1.3, 3.1.1).
    for (let index = 0; index < this.#queues.length; index++) this.notify(index);
  }

  /** Whether `feature` was negotiated. */
  has(feature: bigint): boolean {
    return (this.#status & spec.FEATURES_OK) !== 0 && (this.#driverFeatures & feature) !== 0n;
  }

  /** Fills `data` from byte `offset` of the configuration space; what lies beyond it reads as zeros. */
  readConfig(offset: number, data: Uint8Array): void {
    data.fill(0);
    if (offset >= 0) data.set(this.#function.config().subarray(offset, offset + data.length));
  }

  /** A driver's write to the configuration space; ignored where it does not lie within. */
  writeConfig(offset: number, data: Uint8Array): void {
    const { length } = this.#function.config();
    if (offset >= 0 && offset + data.length <= length) this.#function.writeConfig(offset, data);
  }

  /**
   * Makes queue `index` ready. False, and nothing done, when there is no such queue, it is ready already, features are
   * not negotiated, or the setup is none that the specification allows.
   */
  enableQueue(index: number, setup: QueueSetup): boolean {
    const known = index in this.#queues && this.#queues[index] === undefined;
    const negotiated = (this.#status & spec.FEATURES_OK) !== 0 && !this.#isResetting;
    if (!known || !negotiated || !isPossible(setup, this.queueSizeMax)) return false;
    this.#queues[index] = new SplitQueue(this.#memory, setup, {
      indirect: this.has(spec.VIRTIO_F_INDIRECT_DESC),
      eventIndex: this.has(spec.VIRTIO_F_EVENT_IDX),
    });
    return true;
  }

  /** Whether queue `index` is ready. */
  isQueueEnabled(index: number): boolean {
    return this.#queues[index] !== undefined;
  }

  /** The driver's notification that buffers are available in queue `index`; one too many does no harm. */
  notify(index: number): void {
    if (this.activeQueue(index) !== undefined) this.#function.available(index);
  }

  /** For the function: queue `index`, while buffers may be taken from it and given back. */
  activeQueue(index: number): SplitQueue | undefined {
    const active = (this.#status & (spec.DRIVER_OK | spec.DEVICE_NEEDS_RESET)) === spec.DRIVER_OK;
    return active && !this.#isResetting ? this.#queues[index] : undefined;
  }

  /** For the function: buffers of queue `index` were taken or given back. */
  settleQueue(index: number): void {
    const queue = this.activeQueue(index);
    if (queue === undefined) return;
    const isWanted = queue.wantsNotification();
    if (queue.broken !== undefined) this.#needReset(queue.broken);
    else if (isWanted) this.notifications.usedBuffers?.(index);
  }

  /** Virtio 1.3, 2.1.2: the device has met what only a reset can mend, and says so. */
  #needReset(reason: string): void {
    this.#status |= spec.DEVICE_NEEDS_RESET;
    this.#observer?.observe({
      kind: 'needs-reset',
      source: this.#function.name,
      message: `the driver's queue makes no sense (${reason}): the device stands still until the driver resets it`,
    });
    this.notifications.configChanged?.();
  }

  #canAccept(): boolean {
    const chosen = this.#driverFeatures;
    return (chosen & ~this.features) === 0n && (chosen & spec.VIRTIO_F_VERSION_1) !== 0n;
  }

  #reset(): void {
    this.#isResetting = true;
    this.#driverFeatures = 0n;
    this.#queues.fill(undefined);
    this.#function.reset(() => {
      this.#status = 0;
      this.#isResetting = false;
    });
  }
}
