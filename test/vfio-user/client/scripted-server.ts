import { Ledger } from '../../../src/iommu/index.ts';
import { PAGE_SIZE } from '../../../src/memory/index.ts';
import type { Channel } from '../../../src/vfio-user/channel.ts';
import type { IncomingCommand, Reply } from '../../../src/vfio-user/command.ts';
import { Connection } from '../../../src/vfio-user/connection.ts';
import { type Descriptor, releaseAll } from '../../../src/vfio-user/descriptor.ts';
import {
  type Capabilities,
  Command,
  commandName,
  type DeviceInfo,
  deviceInfoReply,
  dmaMapRequest,
  dmaReadRequest,
  dmaUnmapRequest,
  dmaWriteRequest,
  Errno,
  versionReply,
  type VersionMessage,
} from '../../../src/vfio-user/wire/index.ts';

/** What a scripted server is like. */
export interface ScriptedServerOptions {
  readonly capabilities?: Capabilities;
  /** The whole answer to VERSION; 0.0 with `capabilities` unless given. */
  readonly version?: VersionMessage;
  readonly info?: DeviceInfo;
  /** Answers a command instead of the server; false leaves it to the server. */
  readonly answer?: (command: IncomingCommand) => boolean;
  /** The errno with which a map or unmap is refused, by the number of the operation from 1; 0 or undefined: not refused. */
  readonly refuse?: (operation: number, op: 'map' | 'unmap') => number | undefined;
  /** Whether maps and unmaps are answered when the test says so, with `answerHeld`. */
  readonly held?: boolean;
}

/**
 * A vfio-user server that does what a test says, and otherwise what libvfio-user does: unmaps name one mapping exactly,
 * maps must not overlap.
 */
export class ScriptedServer {
  readonly connection: Connection;
  /** What was mapped: targets are pages of the offset. */
  readonly ledger: Ledger = new Ledger();
  /** Descriptors by the first page of the mapping they came with. */
  readonly files: Map<number, Descriptor> = new Map();
  /** Names of all commands but maps and unmaps, in the order in which they came. */
  readonly commands: string[] = [];
  maps = 0;
  unmaps = 0;
  /** Most operations that waited for an answer at one time. */
  mostHeld = 0;
  held: boolean;
  #waiting: (() => void)[] = [];
  readonly #options: ScriptedServerOptions;

  constructor(channel: Channel, options: ScriptedServerOptions = {}) {
    this.#options = options;
    this.held = options.held ?? false;
    this.connection = new Connection(channel, {
      name: 'the client',
      maxUnanswered: 100_000,
      onCommand: (command) => this.#command(command),
    });
  }

  /** Operations that wait for their answer. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** What is mapped, as `IOVA+pages -> offset access` in pages, hexadecimal. */
  get mappings(): string[] {
    return [...this.ledger.mappings()].map(
      ({ iova, pages, target, flags }) =>
        `${iova.toString(16)}+${pages.toString(16)} -> ${target.toString(16)} ${flags}`,
    );
  }

  /** Answers what waits, in the order that `order` makes of it; from now on too when `held` is off. */
  answerHeld(order: (waiting: (() => void)[]) => (() => void)[] = (waiting) => waiting): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const answer of order(waiting)) answer();
  }

  /** Answers what has waited longest. */
  answerOldest(): void {
    this.#waiting.shift()?.();
  }

  dmaRead(address: bigint, count: bigint): Promise<Reply> {
    return this.connection.request(Command.DMA_READ, dmaReadRequest.encode({ address, count }));
  }

  dmaWrite(address: bigint, data: Uint8Array): Promise<Reply> {
    const count = BigInt(data.length);
    return this.connection.request(Command.DMA_WRITE, dmaWriteRequest.encode({ address, count, data }));
  }

  #command(command: IncomingCommand): void {
    if (this.#options.answer?.(command) === true) return;
    switch (command.command) {
      case Command.DMA_MAP:
        this.#operation(command, 'map', this.#map(command));
        return;
      case Command.DMA_UNMAP:
        this.#operation(command, 'unmap', this.#unmap(command));
        return;
      case Command.VERSION:
        this.#done(command, versionReply.encode(this.#version()));
        return;
      case Command.DEVICE_GET_INFO:
        this.#done(command, deviceInfoReply.encode(this.#info()));
        return;
      default:
        this.#done(command, undefined);
    }
  }

  #version(): VersionMessage {
    const { version, capabilities = {} } = this.#options;
    return version ?? { major: 0, minor: 0, capabilities };
  }

  #info(): DeviceInfo {
    return this.#options.info ?? { reset: true, pci: true, regions: 9, irqs: 5 };
  }

  #done(command: IncomingCommand, payload: Uint8Array | undefined): void {
    this.commands.push(commandName(command.command));
    releaseAll(command.descriptors);
    command.reply(payload);
  }

  #operation(command: IncomingCommand, op: 'map' | 'unmap', errno: number): void {
    const payload = op === 'unmap' && errno === 0 ? command.payload.slice() : undefined;
    const answer = (): void => {
      if (errno === 0) command.reply(payload);
      else command.fail(errno);
    };
    if (!this.held) {
      answer();
      return;
    }
    this.#waiting.push(answer);
    this.mostHeld = Math.max(this.mostHeld, this.#waiting.length);
  }

  #map(command: IncomingCommand): number {
    this.maps++;
    const [descriptor, ...others] = command.descriptors;
    releaseAll(others);
    const decoded = dmaMapRequest.decode(command.payload);
    const refused = this.#options.refuse?.(this.maps + this.unmaps, 'map') ?? 0;
    const { address, size, offset, read, write } = decoded.ok
      ? decoded.value
      : { address: 0n, size: 0n, offset: 0n, read: false, write: false };
    const iova = Number(address) / PAGE_SIZE;
    const access = (read ? 1 : 0) | (write ? 2 : 0);
    const errno = !decoded.ok
      ? decoded.errno
      : refused !== 0
        ? refused
        : this.ledger.insert(iova, Number(size) / PAGE_SIZE, Number(offset) / PAGE_SIZE, access)
          ? 0
          : Errno.EEXIST;
    if (descriptor !== undefined && errno === 0) this.files.set(iova, descriptor);
    else descriptor?.release();
    return errno;
  }

  #unmap(command: IncomingCommand): number {
    this.unmaps++;
    releaseAll(command.descriptors);
    const decoded = dmaUnmapRequest.decode(command.payload);
    if (!decoded.ok) return decoded.errno;
    const refused = this.#options.refuse?.(this.maps + this.unmaps, 'unmap') ?? 0;
    if (refused !== 0) return refused;
    const iova = Number(decoded.value.address) / PAGE_SIZE;
    if (!this.ledger.remove(iova, Number(decoded.value.size) / PAGE_SIZE)) return Errno.ENOENT;
    this.files.get(iova)?.release();
    this.files.delete(iova);
    return 0;
  }
}
