/** Keeps a guest's network busy in both directions, from this side of QEMU's user-mode network. @module */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

/** How much is sent ahead of what the guest takes. */
const AHEAD = 64 * 1024;
const CHUNK = new Uint8Array(16 * 1024);

/** A TCP server that sends without end and counts what it gets. The guest reaches it at 10.0.2.2. */
export class NetworkLoad {
  readonly #server: Server;
  readonly #sockets: Set<Socket> = new Set();
  #sending = true;
  /** Bytes that came from the guest. */
  received = 0;

  private constructor() {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(): Promise<NetworkLoad> {
    const load = new NetworkLoad();
    load.#server.listen(0, '127.0.0.1');
    await once(load.#server, 'listening');
    return load;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends every connection and takes no new one: the guest's network comes to rest. */
  close(): void {
    this.#sending = false;
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('data', (data) => {
      this.received += data.length;
    });
    socket.on('drain', () => this.#send(socket));
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
    this.#send(socket);
  }

  #send(socket: Socket): void {
    while (this.#sending && !socket.destroyed && socket.writableLength < AHEAD) {
      if (!socket.write(CHUNK)) return;
    }
  }
}
