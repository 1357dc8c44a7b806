import type { Descriptor, Eventfds } from '../vfio-user/index.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, type Libc, needLibc } from './libc.ts';
import { bestRinger, isEventfd, ONE, type Ringer } from './eventfd-ringer.ts';
import { ownDescriptor } from './own-descriptor.ts';
import { callFailed } from './system-error.ts';
import { Watch } from './watch.ts';

interface Waiter {
  readonly resolve: (count: bigint) => void;
  readonly reject: (error: Error) => void;
}

/** A counter in the kernel that one process adds to and another waits for: how a device's interrupt reaches a VMM. */
export class EventFd {
  /** For peers; held here until `close`. */
  readonly descriptor: Descriptor;
  readonly #libc: Libc;
  readonly #watch: Watch;
  readonly #counter: BigUint64Array = new BigUint64Array(1);
  #waiters: Waiter[] = [];
  #closed = false;

  private constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.descriptor = ownDescriptor(libc, fd);
    this.#watch = new Watch(libc, fd, () => this.#rung());
  }

  /** A new one, at 0. Throws a SystemError where there is no koffi, or no descriptor left. */
  static create(): EventFd {
    const libc = needLibc('an eventfd');
    const fd = libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) throw callFailed('making an eventfd', 'eventfd', libc.errno());
    return new EventFd(libc, fd);
  }

  /** What was added since the last read; 0 when nothing was. */
  read(): bigint {
    if (this.#closed) return 0n;
    const bytes = new Uint8Array(this.#counter.buffer);
    return this.#libc.read(this.descriptor.number, bytes, 8) === 8 ? (this.#counter[0] ?? 0n) : 0n;
  }

  /** Adds one. */
  signal(): void {
    if (!this.#closed) this.#libc.write(this.descriptor.number, ONE, 8);
  }

  /** Resolves with what was added as soon as that is not 0. Rejects when it is closed first. */
  wait(): Promise<bigint> {
    return new Promise((resolve, reject) => {
      const count = this.read();
      if (count > 0n) resolve(count);
      else if (this.#closed) reject(new Error('the eventfd was closed'));
      else {
        this.#waiters.push({ resolve, reject });
        this.#watch.set(true, false);
      }
    });
  }

  /** Lets go of the descriptor. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch.close();
    this.descriptor.release();
    for (const { reject } of this.#waiters) reject(new Error('the eventfd was closed'));
    this.#waiters = [];
  }

  #rung(): void {
    const count = this.read();
    if (count === 0n) return;
    this.#waiters.shift()?.resolve(count);
    if (this.#waiters.length === 0) this.#watch.set(false, false);
  }
}

/** Rings eventfds that peers sent. What is no eventfd is left alone. */
export class LinuxEventfds implements Eventfds {
  readonly #libc: Libc;
  #ring: Ringer | undefined;

  constructor(libc: Libc) {
    this.#libc = libc;
  }

  accepts(descriptor: Descriptor): boolean {
    return !descriptor.closed && isEventfd(descriptor.number);
  }

  signal(eventfd: Descriptor): void {
    if (eventfd.closed) return;
    this.#ring ??= sharedRinger(this.#libc);
    this.#ring(eventfd.number);
  }
}

let ringer: Ringer | undefined;

/** The process's only one. */
function sharedRinger(libc: Libc): Ringer {
  ringer ??= bestRinger(libc);
  return ringer;
}
