/** What the author of a device writes, and what the device gets. @module */
import type { RamBlock } from '../../memory/index.ts';
import type { Descriptor } from '../descriptor.ts';
import type { SparseArea } from '../wire/index.ts';
import type { DeviceMemory } from './device-memory.ts';

/**
 * A PCI function: a plain object or a class. Nothing in it may change once a server is built for it, but for what its
 * methods do. Offsets and lengths are bytes; multi-byte registers are little-endian.
 *
 * @example A device that copies: a driver writes source, target and length as three 64-bit numbers, and anything at 24
 * to begin; at the end it is interrupted, and reads at 24 how that went.
 * ```ts
 * class Copier implements PciDevice {
 *   readonly name = 'copier';
 *   readonly vendorId = 0x1234;
 *   readonly deviceId = 0xc0b1;
 *   readonly classCode = 0x088000;
 *   readonly intx = true;
 *   readonly msi = { vectors: 1 };
 *   readonly #registers = new DataView(new ArrayBuffer(4096));
 *   #context!: DeviceContext;
 *   readonly bars = [
 *     {
 *       size: 4096,
 *       kind: 'memory32' as const,
 *       read: (offset: number, data: Uint8Array) => {
 *         data.set(new Uint8Array(this.#registers.buffer, offset, data.length));
 *         this.#context.interrupts.lower();
 *       },
 *       write: (offset: number, data: Uint8Array) => {
 *         new Uint8Array(this.#registers.buffer).set(data, offset);
 *         // Not awaited: memory that came without a file is served only after this write has been answered.
 *         if (offset === 24) void Promise.resolve().then(() => this.#copy());
 *       },
 *     },
 *   ];
 *
 *   start(context: DeviceContext): void {
 *     this.#context = context;
 *   }
 *
 *   async #copy(): Promise<void> {
 *     const [from, to, length] = [0, 8, 16].map((at) => this.#registers.getBigUint64(at, true));
 *     const { memory, interrupts } = this.#context;
 *     const data = new Uint8Array(Math.min(Number(length), 65_536));
 *     const done = await memory.read(from, data).then(() => memory.write(to, data)).then(() => 1, () => 2);
 *     this.#registers.setUint32(24, done, true);
 *     interrupts.trigger();
 *   }
 * }
 * ```
 */
export interface PciDevice {
  /** For people. */
  readonly name: string;
  /** Configuration space 0x00, 16 bits. */
  readonly vendorId: number;
  /** Configuration space 0x02, 16 bits. */
  readonly deviceId: number;
  /** Base class, sub-class and programming interface: configuration space 0x09, 24 bits. */
  readonly classCode: number;
  /** Configuration space 0x08; 0 when left out. */
  readonly revision?: number;
  /** Configuration space 0x2c; 0 when left out. */
  readonly subsystemVendorId?: number;
  /** Configuration space 0x2e; 0 when left out. */
  readonly subsystemId?: number;
  /** By BAR number, six at most. A 64-bit BAR takes the number behind it too, which must be left out. */
  readonly bars?: readonly (Bar | undefined)[];
  /** In the order of the list that the server writes; MSI and MSI-X are added by {@link msi} and {@link msix}. */
  readonly capabilities?: readonly PciCapability[];
  /** Whether it has the interrupt pin INTA. */
  readonly intx?: boolean;
  /** Message-signalled interrupts: 1, 2, 4, 8, 16 or 32. */
  readonly msi?: { readonly vectors: number };
  readonly msix?: MsixLayout;
  /** Called once, when the server is built. */
  start?(context: DeviceContext): void;
  /** A client has agreed on a version. */
  connected?(): void;
  /** The client is gone, its memory and its interrupts with it. The device keeps its state. */
  disconnected?(): void;
  /**
   * The client asks for a reset; configuration space and pending interrupts are as after power-on already. The answer
   * waits for the promise.
   */
  reset?(): void | Promise<void>;
}

/** MSI-X: table and pending bits lie in a BAR, where the server answers for them. */
export interface MsixLayout {
  /** 1 to 2,048. */
  readonly vectors: number;
  /** The number of the BAR, which has handlers. */
  readonly bar: number;
  /** Where the table begins, a multiple of 8: 16 bytes for each vector. */
  readonly tableOffset: number;
  /** Where the pending bits begin, a multiple of 8: 8 bytes for each 64 vectors. */
  readonly pbaOffset: number;
}

/** A base address register and what is behind it. */
export type Bar = HandledBar | MemoryBar;

interface BarShape {
  /** Bytes: a power of two, 16 (4 with `io`) to 2^31, and to 2^47 with `memory64`. */
  readonly size: number;
  readonly kind: 'memory32' | 'memory64' | 'io';
  /** Reads have no effects; false when left out. Memory only. */
  readonly prefetchable?: boolean;
}

/**
 * Registers. An access is answered when the handler returns, or when its promise resolves; later commands of the client
 * wait for it, and so no DMA by message can be done meanwhile (see {@link DeviceMemory}). What a handler throws is
 * reported to the observer and the client gets EIO.
 */
export interface HandledBar extends BarShape {
  readonly memory?: undefined;
  /** Fills `data`, which is all zeros, from `offset`. */
  read(offset: number, data: Uint8Array): void | Promise<void>;
  /** Takes `data` at `offset`. `data` may be kept: it is never written again. */
  write(offset: number, data: Uint8Array): void | Promise<void>;
}

/** Memory that a client may map when it can; it is at least 4 KiB. */
export interface MemoryBar extends BarShape {
  readonly memory: SharedRegion;
  /** Accesses by message, in place of the memory: for a BAR of which only `areas` are mapped. */
  read?(offset: number, data: Uint8Array): void | Promise<void>;
  write?(offset: number, data: Uint8Array): void | Promise<void>;
}

/** The memory behind a BAR. */
export interface SharedRegion {
  /** At least as long as the BAR. With `share`, a client may map it; the descriptor stays the device's and must stay open. */
  readonly ram: RamBlock & {
    readonly share?: { readonly descriptor: Descriptor /** Bytes into the file. */; readonly offset: bigint };
  };
  /** The only parts that may be mapped, whole pages; everything when left out. */
  readonly areas?: readonly SparseArea[];
}

/** A capability of configuration space. */
export interface PciCapability {
  /** Its number: configuration space, first byte. 0x10 (PCI Express) makes configuration space 4 KiB. */
  readonly id: number;
  /** What follows its number and the pointer to the next. */
  readonly bytes: Uint8Array;
  /** For each of `bytes`, the bits that a client may write; none when left out. */
  readonly writable?: Uint8Array;
}

/** How a device interrupts its client. */
export interface Interrupts {
  /** What the client has wired: the best of it is used. */
  readonly mode: 'msix' | 'msi' | 'intx' | 'none';
  /**
   * Interrupts. With MSI-X or MSI that is one message for `vector` (0 unless given); one that is masked becomes pending
   * and goes out when it is unmasked. Otherwise INTA is asserted, and stays so until `lower`: it is signalled once, and
   * again whenever the client unmasks it while it is asserted. Whether a signal went out now: false when nothing is
   * wired to the vector, or when it is masked.
   */
  trigger(vector?: number): boolean;
  /** INTA is no longer asserted. */
  lower(): void;
  /** Tells the client of an unrecoverable error (the ERR interrupt); false when it does not listen. QEMU stops the machine. */
  error(): boolean;
  /** Asks the client to give the device back (the REQ interrupt); false when it does not listen. */
  requestRemoval(): boolean;
}

/** What a device gets of its server. */
export interface DeviceContext {
  readonly memory: DeviceMemory;
  readonly interrupts: Interrupts;
}
