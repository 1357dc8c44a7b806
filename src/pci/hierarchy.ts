/** Functions, bridges and the buses that hold them: a tree whose nodes know each other. @module */
import { formatRequesterId, type RequesterId, requesterId } from '../iommu/index.ts';

/** A PCI function in its slot. */
export class PciFunction {
  /** Name for people. */
  readonly name: string;
  readonly bus: PciBus;
  /** Device number, 0 to 31. */
  readonly device: number;
  /** Function number, 0 to 7. */
  readonly fn: number;

  /** Made by {@link PciBus.attach}, which keeps slots unique. */
  constructor(name: string, bus: PciBus, device: number, fn: number) {
    this.name = name;
    this.bus = bus;
    this.device = device;
    this.fn = fn;
  }

  /** The function's own ID. What an IOMMU sees may differ: {@link requesterOf}. */
  get id(): RequesterId {
    return requesterId(this.bus.number, this.device, this.fn);
  }

  /** `BB:DD.F`. */
  get bdf(): string {
    return formatRequesterId(this.id);
  }
}

/**
 * What kind of bridge it is decides whose requester ID appears on its upper side.
 * - `root-port` and `switch-port`: PCI Express below as above; IDs pass unchanged.
 * - `pcie-to-pci`: a conventional bus below, whose transactions carry no ID.
 * - `pci-to-pci`: a conventional bridge.
 */
export type PciBridgeKind = 'root-port' | 'switch-port' | 'pcie-to-pci' | 'pci-to-pci';

/** A bridge: a function with a bus below it. */
export class PciBridge extends PciFunction {
  readonly kind: PciBridgeKind;
  #secondary: PciBus | undefined;

  /** Made by {@link PciBus.attachBridge}. */
  constructor(name: string, bus: PciBus, device: number, fn: number, kind: PciBridgeKind) {
    super(name, bus, device, fn);
    this.kind = kind;
  }

  /** The bus below. */
  get secondary(): PciBus {
    if (this.#secondary === undefined) throw new Error(`bridge ${this.bdf} has no bus yet`);
    return this.#secondary;
  }

  /** Gives the bridge its bus; the bus's business. */
  adopt(secondary: PciBus): void {
    this.#secondary = secondary;
  }
}

/** A bus with the functions in its slots. Bus numbers are those the guest has given, unique in a hierarchy. */
export class PciBus {
  /** Bus number, 0 to 255. */
  readonly number: number;
  /** The bridge above; undefined for the root bus. */
  readonly bridge: PciBridge | undefined;
  readonly #functions: Map<number, PciFunction> = new Map();

  /** A root bus, or, with `bridge`, the bus below it: then use {@link attachBridge}. */
  constructor(number = 0, bridge?: PciBridge) {
    requesterId(number, 0, 0);
    this.number = number;
    this.bridge = bridge;
  }

  /** Functions in their slots, by device and function number. */
  get functions(): readonly PciFunction[] {
    return [...this.#functions.values()].sort((a, b) => a.id - b.id);
  }

  /** Puts a function into slot `device` (0-31), `fn` (0-7). Throws when something is there. */
  attach(name: string, device: number, fn = 0): PciFunction {
    return this.#place(new PciFunction(name, this, device, fn));
  }

  /**
   * Puts a bridge into a slot, with bus number `secondary` below it. Throws when the slot is taken or the number is
   * in use in this hierarchy.
   */
  attachBridge(name: string, device: number, fn: number, kind: PciBridgeKind, secondary: number): PciBridge {
    if (this.root.findBus(secondary) !== undefined) throw new Error(`bus number ${secondary} is in use`);
    const bridge = new PciBridge(name, this, device, fn, kind);
    bridge.adopt(new PciBus(secondary, bridge));
    this.#place(bridge);
    return bridge;
  }

  /** Takes `fn` out of its slot. Throws when it is not there, or is a bridge with functions below. */
  detach(fn: PciFunction): void {
    const key = slotOf(fn);
    if (this.#functions.get(key) !== fn) throw new Error(`${fn.name} is not on bus ${this.number}`);
    if (fn instanceof PciBridge && fn.secondary.functions.length > 0) {
      throw new Error(`bridge ${fn.bdf} has functions below it: take those out first`);
    }
    this.#functions.delete(key);
  }

  /** The root of the hierarchy. */
  get root(): PciBus {
    return this.bridge === undefined ? this : this.bridge.bus.root;
  }

  /** The bus with `number`, this one or below it. */
  findBus(number: number): PciBus | undefined {
    if (this.number === number) return this;
    for (const fn of this.#functions.values()) {
      const found = fn instanceof PciBridge ? fn.secondary.findBus(number) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #place<F extends PciFunction>(fn: F): F {
    const key = slotOf(fn);
    const there = this.#functions.get(key);
    if (there !== undefined) throw new Error(`slot ${there.bdf} holds ${there.name} already`);
    this.#functions.set(key, fn);
    return fn;
  }
}

function slotOf(fn: PciFunction): number {
  return fn.id & 0xff;
}
