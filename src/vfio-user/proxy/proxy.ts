import type { Observer } from '../../memory/index.ts';
import type { Channel } from '../channel.ts';
import type { CloseReason } from '../close-reason.ts';
import type { IncomingCommand } from '../command.ts';
import type { ConnectionOptions } from '../connection.ts';
import { releaseAll } from '../descriptor.ts';
import type { SharedFiles, Timers } from '../platform.ts';
import {
  Command,
  DEFAULT_MAX_DMA_MAPS,
  type VersionMessage,
  versionReply,
  versionRequest,
} from '../wire/index.ts';
import { DmaBroker } from './dma-broker.ts';
import type { ProxyEnd, ProxyEvents } from './events.ts';
import { checkedLimits, type ProxyLimits } from './limits.ts';
import type { ProxyMapping } from './mappings.ts';
import { Side } from './side.ts';
import { decodeAgreement, limitAgreement, limitProposal } from './version.ts';

/** What a proxy is made of. Both channels belong to it from then on. */
export interface VfioUserProxyOptions {
  /** To the VMM, which is the client. */
  readonly upstream: Channel;
  /** To the server. */
  readonly downstream: Channel;
  /** Recognises the files behind mappings. Without it a map of shared memory that is there already is refused, and shared memory is not merged. */
  readonly files?: SharedFiles | undefined;
  /**
   * For `limits.patience`, and against peers that never read: one that the other side has to wait for ends the proxy
   * when it has read nothing for 30 seconds, and none keeps its connection after the end.
   */
  readonly timers?: Timers | undefined;
  /** Hears `limited-version` and `server-full`. */
  readonly observer?: Observer | undefined;
  readonly events?: ProxyEvents | undefined;
  /**
   * Neighbours that the VMM maps in one burst become one mapping of the server: contiguous addresses, contiguous parts
   * of the same file, the same access. It saves mappings and messages, and some servers need a queue to be in one.
   * The price: an unmap of a part unmaps the whole and maps the rest anew, and for that moment DMA to the rest fails.
   * Where the server has no room for the rest, the proxy ends.
   */
  readonly merge?: boolean;
  /** Those that are left out are as in {@link DEFAULT_PROXY_LIMITS}. */
  readonly limits?: Partial<ProxyLimits>;
}

/** Room in a message beside its data. */
const MESSAGE_OVERHEAD = 4096;

/**
 * Stands between a VMM and a vfio-user server. Everything passes through as it is, in order, at once; except DMA_MAP and
 * DMA_UNMAP, which the VMM may send as VFIO type1 takes them and the server gets as the specification has them,
 * each unmap naming one mapping, and VERSION, whose limits become those of all three.
 *
 * The end of either side is the end of the other.
 */
export class VfioUserProxy {
  /** Resolves when it is over; never rejects. */
  readonly closed: Promise<ProxyEnd>;
  readonly #limits: ProxyLimits;
  readonly #events: ProxyEvents | undefined;
  readonly #observer: Observer | undefined;
  readonly #vmm: Side;
  readonly #server: Side;
  readonly #broker: DmaBroker;
  #isOver = false;
  #resolveClosed!: (end: ProxyEnd) => void;

  /** Begins at once. Throws a RangeError for impossible limits. */
  constructor(options: VfioUserProxyOptions) {
    const { events } = options;
    this.#events = events;
    this.#observer = options.observer;
    this.#limits = checkedLimits(options.limits);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    const { timers } = options;
    const shared = connectionOptions(this.#limits, timers);
    const side = (name: Side['name'], channel: Channel): Side =>
      new Side({
        name,
        channel,
        timers,
        connection: {
          ...shared,
          lingers: name === 'vmm',
          name: name === 'vmm' ? 'the VMM' : 'the server',
          onCommand: (command) => (name === 'vmm' ? this.#fromVmm(command) : this.#fromServer(command)),
        },
        passed: events?.passed?.bind(events),
        stuck: (why) => this.#end(name, { kind: 'timeout', message: why }),
      });
    this.#server = side('server', options.downstream);
    this.#broker = new DmaBroker({
      send: (command, payload, descriptors, taken) =>
        this.#server.lane.send(command, payload, descriptors, taken),
      distrust: (why) => this.#distrust(why),
      files: options.files,
      events,
      observer: options.observer,
      merge: options.merge ?? false,
    });
    this.#broker.maximum = this.#limits.maxDmaMaps;
    this.#vmm = side('vmm', options.upstream);
    this.#vmm.join(this.#server);
    this.#server.join(this.#vmm);
    void this.#vmm.connection.closed.then((reason) => this.#end('vmm', reason));
    void this.#server.connection.closed.then((reason) => this.#end('server', reason));
  }

  /** What the VMM asked for and the server accepted, in ascending order. The proxy must not go on meanwhile. */
  mappings(): Iterable<ProxyMapping> {
    return this.#broker.mappings();
  }

  /** What the server was told and accepted, in ascending order; merged mappings are one. The proxy must not go on meanwhile. */
  serverMappings(): Iterable<ProxyMapping> {
    return this.#broker.serverMappings();
  }

  /** Ends both connections; what was passed on still goes out, if its receiver takes it within five seconds. */
  close(reason = 'the proxy was closed'): void {
    this.#end('here', { kind: 'closed-here', message: reason });
  }

  #fromVmm(command: IncomingCommand): void {
    switch (command.command) {
      case Command.DMA_MAP:
        this.#broker.map(command);
        return;
      case Command.DMA_UNMAP:
        this.#broker.unmap(command);
        return;
      case Command.VERSION:
        this.#version(command);
        return;
      default:
        this.#broker.flush();
        this.#vmm.pass(command, this.#server);
    }
  }

  #fromServer(command: IncomingCommand): void {
    this.#server.pass(command, this.#vmm);
  }

  #version(command: IncomingCommand): void {
    this.#broker.flush();
    releaseAll(command.descriptors);
    const proposed = versionRequest.decode(command.payload);
    // What is no proposal is for the server to refuse.
    const proposal = proposed.ok
      ? versionRequest.encode(limitProposal(proposed.value, this.#limits))
      : command.payload;
    this.#vmm.tellCommand(Command.VERSION, proposal.length);
    this.#server.lane.send(Command.VERSION, proposal, [], (reply) => {
      if (reply === undefined) return;
      releaseAll(reply.descriptors);
      if (reply.errno !== 0) {
        this.#server.tellReply(Command.VERSION, 0, 0, reply.errno);
        command.fail(reply.errno);
        return;
      }
      const agreed = decodeAgreement(reply.payload);
      if (!agreed.ok) this.#distrust(`it answered what is no version (${agreed.reason})`);
      else this.#agree(command, agreed.value, proposed.ok ? proposed.value : agreed.value);
    });
  }

  #agree(command: IncomingCommand, agreed: VersionMessage, proposed: VersionMessage): void {
    const agreement = limitAgreement(agreed, proposed, this.#limits);
    const payload = versionReply.encode(agreement);
    this.#broker.maximum = Math.min(
      agreed.capabilities.maxDmaMaps ?? DEFAULT_MAX_DMA_MAPS,
      this.#limits.maxDmaMaps,
    );
    if (agreed.minor !== agreement.minor) {
      this.#observer?.observe({
        kind: 'limited-version',
        source: 'proxy',
        message: `the server answered version ${agreed.major}.${agreed.minor}; the VMM is told ${agreement.major}.${agreement.minor}, which it proposed`,
      });
    }
    this.#server.tellReply(Command.VERSION, payload.length, 0, 0);
    this.#events?.connected?.(agreement.capabilities);
    command.reply(payload);
  }

  /** Ends because of what the server did. */
  #distrust(why: string): void {
    this.#end('server', { kind: 'protocol-error', message: `the server cannot be relied on: ${why}` });
  }

  #end(side: ProxyEnd['side'], reason: CloseReason): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { message } = reason;
    const consequence = {
      vmm: 'the connection to the server was ended',
      server: 'the connection to the VMM was ended',
      here: 'both connections were ended',
    };
    const end: ProxyEnd = { side, message: `${message}: ${consequence[side]}`, reason };
    for (const side of [this.#vmm, this.#server]) side.end(message);
    this.#broker.close();
    this.#events?.ended?.(end);
    this.#resolveClosed(end);
  }
}

function connectionOptions(
  { maxMsgFds, maxDataXferSize, patience }: ProxyLimits,
  timers: Timers | undefined,
): Pick<ConnectionOptions, 'maxMessageBytes' | 'maxDescriptors' | 'timers' | 'requestTimeout'> {
  return {
    maxMessageBytes: maxDataXferSize + MESSAGE_OVERHEAD,
    maxDescriptors: maxMsgFds,
    timers,
    requestTimeout: patience === 0 ? undefined : patience,
  };
}
