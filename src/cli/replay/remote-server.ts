/** A running vfio-user server that a capture is replayed into. @module */
import { PAGE_SIZE } from '../../memory/index.ts';
import { ServerRefusedError, VfioUserClient } from '../../vfio-user/index.ts';
import { LiveError } from '../serve/live-error.ts';
import { type LiveWorld, systemWorld } from '../serve/live-world.ts';
import type { CommandIo } from '../terminal/io.ts';
import { printable } from '../terminal/text.ts';

/** Why there is no connection, as an error for people; what is a mistake of this program is thrown as it is. */
function unreachable(error: unknown): LiveError {
  if (!(error instanceof Error && 'code' in error && typeof error.code === 'string')) throw error;
  const isBusy = error instanceof ServerRefusedError && error.errno === 'EBUSY';
  const remedy = isBusy ? ': it serves another client; end that one first' : '';
  return new LiveError(`${error.message}${remedy}`, { cause: error });
}

/** A server, connected to. */
export class RemoteServer {
  readonly path: string;
  readonly client: VfioUserClient;
  readonly #world: LiveWorld;

  private constructor(path: string, client: VfioUserClient, world: LiveWorld) {
    this.path = path;
    this.client = client;
    this.#world = world;
  }

  /**
   * Connects to the server at the socket `path`.
   *
   * @throws LiveError when there is none, or none that can be used
   */
  static async reach(path: string, given?: LiveWorld): Promise<RemoteServer> {
    const world = given ?? (await systemWorld());
    try {
      const client = await VfioUserClient.connect({
        open: () => world.connect(path),
        name: path,
        timers: world.platform.timers,
      });
      return new RemoteServer(path, client, world);
    } catch (error) {
      throw unreachable(error);
    }
  }

  /** Bytes of its smallest page, 4,096 at the least. */
  get pageSize(): number {
    const { pageSizes } = this.client.limits;
    return Math.max(PAGE_SIZE, Number(pageSizes & -pageSizes));
  }

  /** Stays connected until a signal or a line on standard input ends that, or the server does. */
  async hold(io: CommandIo): Promise<void> {
    const { controls } = this.#world;
    const ends: (() => void)[] = [];
    io.err(
      printable(
        `viommu: ${this.path} keeps the mappings until you press Enter or Ctrl-C; look at them there`,
      ) + '\n',
    );
    const told = new Promise<undefined>((resolve) => {
      const end = (): void => resolve(undefined);
      ends.push(controls.onSignal('SIGINT', end), controls.onSignal('SIGTERM', end));
      ends.push(
        controls.onLine(() => {
          end();
          return Promise.resolve();
        }),
      );
    });
    const reason = await Promise.race([told, this.client.closed]);
    for (const end of ends) end();
    if (reason !== undefined) io.err(`viommu: ${printable(reason.message)}\n`);
  }

  /** Disconnects: the server lets go of everything. */
  async close(): Promise<void> {
    await this.client.close();
  }
}
