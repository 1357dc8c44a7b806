import type { ReplyTaken } from './command.ts';

/** A request on its way. */
export interface PendingRequest {
  readonly command: number;
  readonly taken: ReplyTaken;
}

/** Requests by the identifier under which they were sent. */
export class PendingRequests {
  readonly #byId: Map<number, PendingRequest> = new Map();
  #lastId = -1;

  get size(): number {
    return this.#byId.size;
  }

  /** An identifier (0 to 65535) that no request on its way has. There must be one. */
  nextId(): number {
    do this.#lastId = (this.#lastId + 1) & 0xffff;
    while (this.#byId.has(this.#lastId));
    return this.#lastId;
  }

  add(id: number, request: PendingRequest): void {
    this.#byId.set(id, request);
  }

  /** The request with this identifier and command, which is then no longer on its way. */
  take(id: number, command: number): PendingRequest | undefined {
    const request = this.#byId.get(id);
    if (request?.command !== command) return undefined;
    this.#byId.delete(id);
    return request;
  }

  /** Everything on its way, oldest first; none is afterwards. */
  clear(): PendingRequest[] {
    const requests = [...this.#byId.values()];
    this.#byId.clear();
    return requests;
  }
}
