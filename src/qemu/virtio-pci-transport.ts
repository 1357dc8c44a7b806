/** A virtio device of QEMU behind PCI, for the guest drivers that also drive our models. @module */
import type { QueueAreas, VirtioTransport } from '../guests/index.ts';
import { formatRequesterId, type RequesterId } from '../iommu/index.ts';
import { COMMAND_BUS_MASTER, COMMAND_MEMORY, Config, type PciConfig } from './pci-config.ts';
import type { AccessBytes, QtestClient } from './qtest-client.ts';
import {
  CAP_BAR,
  CAP_NOTIFY_OFF_MULTIPLIER,
  CAP_OFFSET,
  CommonConfig,
  PCI_CAP_ID_VNDR,
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
} from './virtio-pci-spec.ts';

/** Bits of a BAR that say what it is. */
const BAR_IO = 1;
const BAR_TYPE = 6;
const BAR_64 = 4;

type Field = readonly [offset: number, bytes: number];

/** Guest-physical addresses of a function's structures. */
interface Places {
  readonly common: bigint;
  readonly notify: bigint;
  readonly notifyMultiplier: number;
  readonly isr: bigint;
  readonly device: bigint | undefined;
}

/**
 * The modern interface of one function, by registers (virtio 1.3, 4.1). QEMU answers a notification only when the device
 * has done what the queue holds, for a device without ioeventfd such as virtio-iommu.
 */
export class QtestVirtioPci implements VirtioTransport {
  readonly #qtest: QtestClient;
  readonly #places: Places;
  /** Where each queue that was set up is notified. */
  readonly #bells: Map<number, bigint> = new Map();
  #pending: Promise<void>[] = [];

  private constructor(qtest: QtestClient, places: Places) {
    this.#qtest = qtest;
    this.#places = places;
  }

  /**
   * Finds the structures of `fn`, places the memory BAR that holds them at `base`, which must be aligned to its size, and
   * lets the function answer there and do DMA. Rejects when it is no modern virtio device.
   */
  static async of(
    qtest: QtestClient,
    pci: PciConfig,
    fn: RequesterId,
    base: bigint,
  ): Promise<QtestVirtioPci> {
    const found = await structures(pci, fn);
    const { common, notify, isr, device } = found;
    if (common === undefined || notify === undefined || isr === undefined) {
      throw new Error(
        `${formatRequesterId(fn)} has not the structures of a modern virtio device; start QEMU with one`,
      );
    }
    if ([notify, isr, device].some((other) => other !== undefined && other.bar !== common.bar)) {
      throw new Error(
        `${formatRequesterId(fn)} has its structures in more than one BAR; leave modern-pio-notify off`,
      );
    }
    await placeBar(pci, fn, common.bar, base);
    return new QtestVirtioPci(qtest, {
      common: base + common.offset,
      notify: base + notify.offset,
      notifyMultiplier: await pci.read(fn, notify.at + CAP_NOTIFY_OFF_MULTIPLIER),
      isr: base + isr.offset,
      device: device === undefined ? undefined : base + device.offset,
    });
  }

  async features(): Promise<bigint> {
    let features = 0n;
    for (const half of [0, 1]) {
      void this.#write(CommonConfig.device_feature_select, half);
      // eslint-disable-next-line no-await-in-loop -- one register shows both halves
      features |= (await this.#read(CommonConfig.device_feature)) << BigInt(half * 32);
    }
    return features;
  }

  async acceptFeatures(features: bigint): Promise<void> {
    void this.#write(CommonConfig.driver_feature_select, 0);
    void this.#write(CommonConfig.driver_feature, features & 0xffff_ffffn);
    void this.#write(CommonConfig.driver_feature_select, 1);
    await this.#write(CommonConfig.driver_feature, (features >> 32n) & 0xffff_ffffn);
  }

  async readStatus(): Promise<number> {
    return Number(await this.#read(CommonConfig.device_status));
  }

  async writeStatus(status: number): Promise<void> {
    await this.#write(CommonConfig.device_status, status);
  }

  async maxQueueSize(index: number): Promise<number> {
    void this.#write(CommonConfig.queue_select, index);
    return Number(await this.#read(CommonConfig.queue_size));
  }

  async setUpQueue(index: number, { size, desc, driver, device }: QueueAreas): Promise<void> {
    void this.#write(CommonConfig.queue_select, index);
    void this.#write(CommonConfig.queue_size, size);
    this.#writeWide(CommonConfig.queue_desc, desc);
    this.#writeWide(CommonConfig.queue_driver, driver);
    this.#writeWide(CommonConfig.queue_device, device);
    const off = await this.#read(CommonConfig.queue_notify_off);
    const { notify, notifyMultiplier } = this.#places;
    this.#bells.set(index, notify + off * BigInt(notifyMultiplier));
    await this.#write(CommonConfig.queue_enable, 1);
  }

  notify(index: number): void {
    const bell = this.#bells.get(index);
    if (bell === undefined) throw new Error(`queue ${index} has not been set up`);
    const rung = this.#qtest.write(bell, BigInt(index), 2);
    // Whoever waits for the device hears of a failure; until then it must not count as unhandled.
    rung.catch(() => undefined);
    this.#pending.push(rung);
  }

  readConfig(offset: number, bytes: 1 | 2 | 4 | 8): Promise<bigint> {
    return bytes === 8 ? this.#readConfigWide(offset) : this.#qtest.read(this.#config(offset), bytes);
  }

  async writeConfig(offset: number, value: bigint, bytes: 1 | 2 | 4 | 8): Promise<void> {
    if (bytes < 8) return this.#qtest.write(this.#config(offset), value, bytes as AccessBytes);
    void this.#qtest.write(this.#config(offset), value & 0xffff_ffffn, 4);
    await this.#qtest.write(this.#config(offset + 4), value >> 32n, 4);
  }

  /** Resolves when QEMU has answered every notification so far. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending.length > 0 ? this.#pending.splice(0) : [this.readStatus()]);
  }

  /** Reads the ISR status, which clears it: bit 0 a queue, bit 1 the configuration (virtio 1.3, 4.1.4.5). */
  async readIsr(): Promise<number> {
    return Number(await this.#qtest.read(this.#places.isr, 1));
  }

  /** The fields of 64 bits are read as two (virtio 1.3, 4.1.3.1). */
  async #readConfigWide(offset: number): Promise<bigint> {
    const low = this.#qtest.read(this.#config(offset), 4);
    const high = await this.#qtest.read(this.#config(offset + 4), 4);
    return (high << 32n) | (await low);
  }

  #config(offset: number): bigint {
    if (this.#places.device === undefined) throw new Error('the device has no configuration');
    return this.#places.device + BigInt(offset);
  }

  #read([offset, bytes]: Field): Promise<bigint> {
    return this.#qtest.read(this.#places.common + BigInt(offset), bytes as AccessBytes);
  }

  #write([offset, bytes]: Field, value: number | bigint): Promise<void> {
    const written = this.#qtest.write(
      this.#places.common + BigInt(offset),
      BigInt(value),
      bytes as AccessBytes,
    );
    // The last access of a sequence is awaited, and rejects as the others do.
    written.catch(() => undefined);
    return written;
  }

  #writeWide([offset, bytes]: Field, value: bigint): void {
    void this.#write([offset, bytes], value & 0xffff_ffffn);
    void this.#write([offset + 4, bytes], value >> 32n);
  }
}

interface Structure {
  /** Offset of its capability. */
  readonly at: number;
  readonly bar: number;
  readonly offset: bigint;
}

const NAMES = {
  [VIRTIO_PCI_CAP_COMMON_CFG]: 'common',
  [VIRTIO_PCI_CAP_NOTIFY_CFG]: 'notify',
  [VIRTIO_PCI_CAP_ISR_CFG]: 'isr',
  [VIRTIO_PCI_CAP_DEVICE_CFG]: 'device',
} as const;

type Structures = { [Name in (typeof NAMES)[keyof typeof NAMES]]?: Structure };

/** The first structure of each kind (virtio 1.3, 4.1.4.1). */
async function structures(pci: PciConfig, fn: RequesterId): Promise<Structures> {
  const found: Structures = {};
  for (const { at, header } of await pci.capabilities(fn)) {
    if ((header & 0xff) !== PCI_CAP_ID_VNDR) continue;
    const name = NAMES[(header >>> 24) as keyof typeof NAMES] as keyof Structures | undefined;
    if (name === undefined || found[name] !== undefined) continue;
    // eslint-disable-next-line no-await-in-loop -- a handful of accesses
    const bar = (await pci.read(fn, at + CAP_BAR)) & 0xff;
    // eslint-disable-next-line no-await-in-loop -- likewise
    if (bar <= 5) found[name] = { at, bar, offset: BigInt(await pci.read(fn, at + CAP_OFFSET)) };
  }
  return found;
}

async function placeBar(pci: PciConfig, fn: RequesterId, bar: number, base: bigint): Promise<void> {
  const at = Config.BAR0 + bar * 4;
  const kind = await pci.read(fn, at);
  if ((kind & BAR_IO) !== 0) {
    throw new Error(`${formatRequesterId(fn)} has its structures in ports; they must be in memory`);
  }
  await pci.write(fn, at, Number(base & 0xffff_ffffn));
  if ((kind & BAR_TYPE) === BAR_64) await pci.write(fn, at + 4, Number(base >> 32n));
  await pci.write(fn, Config.COMMAND, COMMAND_MEMORY | COMMAND_BUS_MASTER, 2);
}
