import { formatRequesterId, type RequesterId, requesterId } from '../iommu/index.ts';
import type { PciBus } from './pci-bus.ts';

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
