import type { Channel, ChannelListener, Descriptor } from '../vfio-user/index.ts';
import { EAGAIN, ECONNRESET, EINTR, EPIPE, type Libc, MSG_DONTWAIT, MSG_NOSIGNAL } from './libc.ts';
import { MAX_DESCRIPTORS_PER_MESSAGE } from './message-header.ts';
import { ownDescriptor } from './own-descriptor.ts';
import { SendQueue } from './send-queue.ts';
import { type SharedHeaders, sharedHeaders } from './shared-headers.ts';
import { Spinner } from './spinner.ts';
import { callFailed, SystemError } from './system-error.ts';
import { Watch } from './watch.ts';

/** How a channel behaves. */
export interface SocketChannelOptions {
  /**
   * For how many microseconds at most, after a message, to look for the next one before sleeping: 50 when left out, 0
   * for none. Each channel tries now and then whether its peer answers sooner that way, and does it only if so.
   */
  readonly spinMicroseconds?: number;
}

/** Then other connections get their turn. */
const READS_PER_TURN = 64;
/** At the end: room for more messages than a socket holds. */
const LAST_TURNS = 16;
const DEFAULT_SPIN_MICROSECONDS = 50;
/** Errors of one read that may be over at the next attempt: no peer can cause more than one. */
const TOLD_FIRST = 3;
/**
 * Sends of so many bytes try again what waits: in a long turn, such as a replay's, the peer then goes on working.
 */
const WORTH_TRYING = 16_384;
const NONE: readonly Descriptor[] = [];

/**
 * A UNIX stream socket that passes descriptors. Reads with recvmmsg alone, because only that and recvmsg hand out
 * descriptors; each read holds at most the descriptors of one sendmsg, which is what `ChannelListener.received` promises.
 */
export class SocketChannel implements Channel {
  readonly passesDescriptors = true;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #watch: Watch;
  readonly #shared: SharedHeaders;
  readonly #queue: SendQueue = new SendQueue();
  readonly #spinner: Spinner;
  #listener: ChannelListener | undefined;
  #state: 'open' | 'closing' | 'ended' = 'open';
  #error: Error | undefined;
  /** Something had to wait to be sent, and the listener is to hear when all of it is. */
  #owesDrained = false;
  #paused = false;
  /** Whether the last read brought descriptors: then more such reads are likely to be there. */
  #many = false;
  /** Nothing can be sent any more; what was received is still handed over. */
  #deaf = false;

  /** Over a connected non-blocking socket, which belongs to the channel from now on. */
  constructor(libc: Libc, fd: number, options: SocketChannelOptions = {}) {
    this.#libc = libc;
    this.#fd = fd;
    this.#shared = sharedHeaders(libc);
    this.#spinner = new Spinner(options.spinMicroseconds ?? DEFAULT_SPIN_MICROSECONDS, (now) =>
      this.#drain(now),
    );
    this.#watch = new Watch(libc, fd, (gone) => this.#ready(gone));
  }

  get queuedBytes(): number {
    return this.#queue.length;
  }

  start(listener: ChannelListener): void {
    if (this.#listener !== undefined) throw new Error('a channel is started once');
    this.#listener = listener;
    if (this.#state === 'ended') queueMicrotask(() => listener.closed(this.#error));
    else this.#rewatch();
  }

  send(bytes: Uint8Array, descriptors: readonly Descriptor[] = NONE): void {
    if (descriptors.length > MAX_DESCRIPTORS_PER_MESSAGE) {
      throw new RangeError(
        `${descriptors.length} descriptors with one message: Linux passes ${MAX_DESCRIPTORS_PER_MESSAGE} at the most`,
      );
    }
    if (this.#state !== 'open' || this.#deaf || bytes.length === 0) return;
    let taken = 0;
    const isBehind = this.#queue.length > 0;
    if (!isBehind) {
      taken = this.#transmit(bytes, descriptors);
      if (taken < 0) return;
      if (this.#reading) this.#spinner.expect();
      if (taken === bytes.length) return;
    }
    this.#queue.push(bytes.subarray(taken), taken === 0 ? descriptors : NONE);
    this.#owesDrained = true;
    if (isBehind && bytes.length >= WORTH_TRYING) this.#sendQueued();
    this.#rewatch();
  }

  pause(): void {
    this.#paused = true;
    this.#rewatch();
  }

  resume(): void {
    this.#paused = false;
    this.#rewatch();
  }

  close(discard = false): void {
    if (this.#state === 'ended') return;
    this.#state = 'closing';
    if (discard || this.#queue.length === 0) this.#end();
    else this.#rewatch();
  }

  get #reading(): boolean {
    return this.#state === 'open' && !this.#paused && this.#listener !== undefined;
  }

  #rewatch(): void {
    if (this.#state !== 'ended') this.#watch.set(this.#reading, this.#owesDrained, this.#resting);
  }

  /** Whether nothing is read or written: only then a peer that goes has to be looked for. */
  get #resting(): boolean {
    return this.#state === 'open' && this.#paused && this.#listener !== undefined && this.#queue.length === 0;
  }

  /** The event loop found something to do, or that the peer is `gone`. */
  #ready(gone: boolean): void {
    if (this.#owesDrained) this.#flush();
    if (gone && this.#resting) {
      this.#tell((listener) => listener.idle());
      this.#end();
    }
    this.#drain(performance.now());
    this.#rewatch();
  }

  /** Hands over what has arrived at `now`, in milliseconds, as far as a turn goes; whether there was anything. */
  #drain(now: number): boolean {
    try {
      let reads = 0;
      while (this.#reading && reads < READS_PER_TURN) {
        const asked = this.#many ? this.#shared.receive.slots : 1;
        const done = this.#receive(asked, reads === 0 ? now : undefined);
        reads += done;
        if (done < asked) break;
      }
      if (reads === 0) return false;
      if (this.#state === 'open') this.#listener?.idle();
      if (this.#reading) this.#spinner.expect();
      return true;
    } catch (error) {
      // A listener must not throw; if it does, only its own connection pays for it.
      this.#end(error instanceof Error ? error : new Error(String(error)));
      return false;
    }
  }

  /** Up to `count` reads; how many there were to hand over. The first of a turn comes with the time. */
  #receive(count: number, now: number | undefined): number {
    const { receive } = this.#shared;
    let done = receive.receive(this.#fd, count);
    // recvmmsg tells first, and once, that a peer went without reading all, and then hands out what that peer had sent.
    for (let i = 0; i < TOLD_FIRST && done < 0 && this.#isPassing(); i++)
      done = receive.receive(this.#fd, count);
    if (done < 0) {
      const errno = this.#libc.errno();
      if (errno === ECONNRESET) this.#peerLeft();
      else if (errno !== EAGAIN) this.#end(callFailed('receiving from the peer', 'recvmmsg', errno));
      return 0;
    }
    if (now !== undefined) this.#spinner.arrived(now);
    let next = 0;
    let handed = 0;
    try {
      while (next < done && this.#handOver(next++)) handed++;
    } finally {
      // The channel has ended amid them, or its listener has thrown.
      for (; next < done; next++) this.#closeAll(receive.descriptors(next));
    }
    return handed;
  }

  /** Hands over one read; false when the channel has ended. */
  #handOver(slot: number): boolean {
    const { receive } = this.#shared;
    const numbers = receive.descriptors(slot);
    if (this.#state !== 'open' || receive.truncated(slot)) {
      this.#closeAll(numbers);
      if (this.#state === 'open') this.#end(descriptorsLost());
      return false;
    }
    const bytes = receive.bytes(slot);
    if (bytes.length === 0) {
      this.#peerLeft();
      return false;
    }
    this.#many = numbers.length > 0;
    const descriptors =
      numbers.length === 0 ? NONE : numbers.map((number) => ownDescriptor(this.#libc, number));
    this.#listener?.received(bytes, descriptors);
    return true;
  }

  #isPassing(): boolean {
    const errno = this.#libc.errno();
    return errno === EINTR || errno === ECONNRESET;
  }

  #closeAll(numbers: readonly number[]): void {
    for (const number of numbers) this.#libc.close(number);
  }

  /** The peer sends nothing any more. Answers to what it sent last are still tried: it may only have shut down its side. */
  #peerLeft(): void {
    this.#listener?.idle();
    this.#end();
  }

  /** Sends what waits, until it is sent or the socket takes no more. */
  #flush(): void {
    if (!this.#sendQueued() || this.#queue.length > 0) return;
    this.#owesDrained = false;
    if (this.#state === 'closing') this.#end();
    else if (this.#state === 'open') this.#tell((listener) => listener.drained());
  }

  /** Sends of what waits as much as the socket takes; false when nothing can be sent any more. */
  #sendQueued(): boolean {
    for (let head = this.#queue.head(); head !== undefined; head = this.#queue.head()) {
      const taken = this.#transmit(head.bytes, head.descriptors);
      if (taken < 0) return false;
      if (taken === 0) break;
      this.#queue.taken(taken);
    }
    return true;
  }

  /** Bytes that the socket took; -1 when nothing can be sent any more. */
  #transmit(bytes: Uint8Array, descriptors: readonly Descriptor[]): number {
    for (;;) {
      const taken =
        descriptors.length === 0
          ? this.#libc.send(this.#fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL)
          : this.#shared.sendWith(this.#fd, bytes, descriptors);
      if (taken >= 0) return taken;
      const errno = this.#libc.errno();
      if (errno === EAGAIN) return 0;
      if (errno === EINTR) continue;
      this.#cannotSend(errno);
      return -1;
    }
  }

  #cannotSend(errno: number): void {
    const error =
      errno === EPIPE || errno === ECONNRESET
        ? undefined
        : callFailed('sending to the peer', 'sendmsg', errno);
    this.#deaf = true;
    this.#queue.clear();
    // Not from inside `send`. What the peer sent before it went, often the reason, is handed over first; that is what a
    // socket holds, unless the peer only pretends to be gone.
    queueMicrotask(() => {
      let turns = error === undefined ? LAST_TURNS : 0;
      while (turns > 0 && this.#drain(performance.now())) turns--;
      this.#end(error);
    });
  }

  #tell(call: (listener: ChannelListener) => void): void {
    if (this.#listener === undefined) return;
    try {
      call(this.#listener);
    } catch (error) {
      this.#end(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #end(error?: Error): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#error = error;
    this.#queue.clear();
    this.#watch.close();
    this.#spinner.stop();
    this.#libc.close(this.#fd);
    const listener = this.#listener;
    if (listener !== undefined) queueMicrotask(() => listener.closed(error));
  }
}

function descriptorsLost(): SystemError {
  return new SystemError(
    'VIOMMU_DESCRIPTORS_LOST',
    'descriptors of a message were lost: the peer sent more than 16 with one message, or this process has too many open ' +
      '(raise its limit with ulimit -n)',
  );
}
