import {
  type Channel,
  Command,
  Connection,
  type Descriptor,
  dmaMapRequest,
  dmaUnmapRequest,
  Errno,
  type IncomingCommand,
  releaseAll,
  versionReply,
  versionRequest,
} from '../../../src/vfio-user/index.ts';

/** A mapping that a strict server holds. */
export interface StrictMapping {
  readonly iova: bigint;
  readonly size: bigint;
  readonly offset: bigint;
  readonly access: number;
  /** The number of the descriptor's file; undefined without one. */
  readonly file: number | undefined;
}

export interface StrictServerOptions {
  readonly maxDmaMaps?: number;
  readonly minor?: number;
  /** The errno with which a map is refused, whatever the rules say. */
  readonly refuse?: (mapping: StrictMapping) => number | undefined;
  /** The same of an unmap, after it was carried out or not. */
  readonly refuseUnmap?: (address: bigint, dirtyBitmap: boolean) => number | undefined;
}

/**
 * A server as strict as libvfio-user: an unmap names one mapping exactly, or ENOENT; an overlap is EINVAL, unless it is
 * the very same mapping; one more than it can hold is EINVAL. Answers everything else with its own payload.
 */
export class StrictServer {
  readonly connection: Connection;
  readonly table: Map<bigint, StrictMapping> = new Map();
  /** What it refused by its own rules. */
  readonly refusals: string[] = [];
  /** Commands in the order in which they came. */
  readonly commands: string[] = [];
  /** The most mappings it ever held. */
  most = 0;
  /** Where the mappings begin, ascending. */
  readonly #order: bigint[] = [];
  /** While set, answers are kept back. */
  #held: (() => void)[] | undefined;
  readonly #options: StrictServerOptions;

  constructor(channel: Channel, options: StrictServerOptions = {}) {
    this.#options = options;
    this.connection = new Connection(channel, {
      name: 'the proxy',
      onCommand: (command) => this.#take(command),
    });
  }

  /** Keeps answers back from now on. */
  hold(): void {
    this.#held = [];
  }

  /** Gives the answers kept back, and the following at once. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const answer of held) answer();
  }

  /** Ascending. */
  mappings(): StrictMapping[] {
    return [...this.table.values()].toSorted((a, b) => (a.iova < b.iova ? -1 : 1));
  }

  #take(command: IncomingCommand): void {
    const [errno, payload] = this.#do(command);
    releaseAll(command.descriptors);
    const answer = (): void => (errno === 0 ? command.reply(payload) : command.fail(errno));
    if (this.#held === undefined) answer();
    else this.#held.push(answer);
  }

  #do(command: IncomingCommand): [errno: number, payload: Uint8Array] {
    const payload = command.payload.slice();
    const nothing = new Uint8Array(0);
    if (command.command === Command.VERSION) return [0, this.#version(payload)];
    if (command.command === Command.DMA_MAP) return [this.#map(payload, command.descriptors), nothing];
    if (command.command === Command.DMA_UNMAP) return [this.#unmap(payload), payload];
    this.commands.push(`${command.command}`);
    return [0, payload];
  }

  #version(payload: Uint8Array): Uint8Array {
    const asked = versionRequest.decode(payload);
    if (!asked.ok) throw new Error(asked.reason);
    const { maxDmaMaps, minor = 0 } = this.#options;
    return versionReply.encode({
      major: 0,
      minor,
      capabilities: {
        maxMsgFds: 8,
        maxDataXferSize: 1 << 20,
        ...(maxDmaMaps === undefined ? {} : { maxDmaMaps }),
      },
    });
  }

  #map(payload: Uint8Array, descriptors: readonly Descriptor[]): number {
    const decoded = dmaMapRequest.decode(payload);
    if (!decoded.ok) return this.#refuse(decoded.reason, decoded.errno);
    const { address: iova, size, offset, read, write } = decoded.value;
    this.commands.push(`map ${iova.toString(16)} ${size.toString(16)}`);
    const file = descriptors[0]?.number;
    const mapping = { iova, size, offset, access: (read ? 1 : 0) + (write ? 2 : 0), file };
    const asked = this.#options.refuse?.(mapping);
    if (asked !== undefined) return asked;
    const held = this.table.get(iova);
    if (held !== undefined && held.size === size) {
      const isSame = held.offset === offset && held.access === mapping.access && held.file === file;
      return isSame ? 0 : this.#refuse('a different mapping is there', Errno.EINVAL);
    }
    const at = this.#positionOf(iova);
    const [before, behind] = [this.#order[at - 1], this.#order[at]].map((start) =>
      this.table.get(start ?? -1n),
    );
    if (
      (before !== undefined && before.iova + before.size > iova) ||
      (behind !== undefined && behind.iova < iova + size)
    ) {
      return this.#refuse('overlap', Errno.EINVAL);
    }
    if (this.table.size === (this.#options.maxDmaMaps ?? 1e6)) return this.#refuse('full', Errno.EINVAL);
    this.table.set(iova, mapping);
    this.#order.splice(at, 0, iova);
    this.most = Math.max(this.most, this.table.size);
    return 0;
  }

  #unmap(payload: Uint8Array): number {
    const decoded = dmaUnmapRequest.decode(payload);
    if (!decoded.ok) return this.#refuse(decoded.reason, decoded.errno);
    const { address, size, all, dirtyBitmap } = decoded.value;
    this.commands.push(`unmap ${address.toString(16)} ${size.toString(16)}`);
    const asked = this.#options.refuseUnmap?.(address, dirtyBitmap);
    if (asked !== undefined) return asked;
    if (all) return this.#refuse('not one mapping', Errno.EINVAL);
    if (this.table.get(address)?.size !== size) return this.#refuse('not a mapping', Errno.ENOENT);
    this.table.delete(address);
    this.#order.splice(this.#positionOf(address), 1);
    return 0;
  }

  /** Where in the order a mapping that begins at `iova` is, or would be. */
  #positionOf(iova: bigint): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#order[middle]! < iova) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #refuse(why: string, errno: number): number {
    this.refusals.push(`${this.commands.at(-1)}: ${why}`);
    return errno;
  }
}
