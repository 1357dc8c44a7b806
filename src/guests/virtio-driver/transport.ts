/** What a virtio driver needs of the way to its device, whether that is a model or a PCI function of another process. @module */

/** A value that is there, or comes. */
export type Soon<T> = T | Promise<T>;

/** Where the three areas of a split virtqueue lie (virtio 1.3, 2.7): guest-physical byte addresses. */
export interface QueueAreas {
  /** Queue size: descriptors, a power of two up to 32,768. */
  readonly size: number;
  /** Descriptor area: the descriptor table. */
  readonly desc: bigint;
  /** Driver area: the available ring. */
  readonly driver: bigint;
  /** Device area: the used ring. */
  readonly device: bigint;
}

/**
 * The way to one device. Calls take effect in their order, awaited or not. A promise rejects when the device cannot be
 * reached any more.
 */
export interface VirtioTransport {
  /** Feature bits that the device offers, bit n of the number for feature n. */
  features(): Soon<bigint>;
  /** Gives the device the feature bits that the driver accepts. */
  acceptFeatures(features: bigint): Soon<void>;
  /** Device status (virtio 1.3, 2.1). */
  readStatus(): Soon<number>;
  /** Writes the device status; 0 resets the device. */
  writeStatus(status: number): Soon<void>;
  /** The largest size that the device takes for queue `index`; 0 when there is no such queue. */
  maxQueueSize(index: number): Soon<number>;
  /** Tells the device where queue `index` lies, and enables it. */
  setUpQueue(index: number, areas: QueueAreas): Soon<void>;
  /** Tells the device that queue `index` has new buffers. What that sets off may be done later: see {@link settled}. */
  notify(index: number): Soon<void>;
  /** Reads `bytes` bytes at `offset` of the device configuration. */
  readConfig(offset: number, bytes: 1 | 2 | 4 | 8): Soon<bigint>;
  /** Writes them. */
  writeConfig(offset: number, value: bigint, bytes: 1 | 2 | 4 | 8): Soon<void>;
  /**
   * Returns, or resolves, when the device has done what it was told to, or has had time for some of it: a driver that
   * still misses an answer asks again.
   */
  settled(): Soon<void>;
}
