import { ALL_PAGES } from '../../memory/index.ts';
import type { HostIommuLimits } from '../../vfio/index.ts';
import type { Channel } from '../channel.ts';
import { Connection } from '../connection.ts';
import { Errno, DEFAULT_MAX_DATA_XFER_SIZE } from '../wire/index.ts';
import { type Agreement, agree } from './agreement.ts';
import { DeviceAccess } from './device-access.ts';
import { DmaResponder } from './dma-responder.ts';
import { MappingPipeline } from './mapping-pipeline.ts';
import type { VfioUserClientOptions } from './options.ts';

/** Maps and unmaps that may wait for the server, for each mapping that it can hold: two changes of everything. */
const WAITING_PER_MAPPING = 4;
const LEAST_WAITING = 65_536;
const MOST_WAITING = 2 ** 23;
const DEFAULT_REQUEST_TIMEOUT_MS = 30_000;

/** One connection of a client, from the agreement to its end. */
export class ClientSession {
  readonly name: string;
  readonly connection: Connection;
  readonly agreement: Agreement;
  readonly limits: HostIommuLimits;
  readonly device: DeviceAccess;
  readonly pipeline: MappingPipeline;
  /** Whether RAM is passed by descriptor. */
  readonly sharesMemory: boolean;
  #ended = false;

  private constructor(connection: Connection, agreement: Agreement) {
    const { maxDmaMaps, maxMsgFds, pgsizes, sameFile } = agreement;
    this.name = connection.name;
    this.connection = connection;
    this.agreement = agreement;
    this.sharesMemory = connection.passesDescriptors && maxMsgFds > 0;
    this.limits = {
      pageSizes: pgsizes,
      apertures: [ALL_PAGES],
      maxMappings: maxDmaMaps,
      unmap: 'exact',
      atomicReplace: false,
    };
    this.device = new DeviceAccess(connection, agreement);
    this.pipeline = new MappingPipeline(connection, {
      name: connection.name,
      descriptors: this.sharesMemory,
      sameFile,
      maxWaiting: Math.min(LEAST_WAITING + WAITING_PER_MAPPING * maxDmaMaps, MOST_WAITING),
    });
  }

  /**
   * Opens a channel and agrees with the server; when that fails the channel is closed again.
   *
   * @param opened called with the connection before anything is asked of the server, which may take its time to answer
   */
  static async open(
    options: VfioUserClientOptions,
    opened?: (connection: Connection) => void,
  ): Promise<ClientSession> {
    const { name = 'the vfio-user server', timers, maxDmaMaps } = options;
    const milliseconds = options.requestTimeout ?? DEFAULT_REQUEST_TIMEOUT_MS;
    const channel: Channel = await options.open();
    let responder: DmaResponder | undefined;
    const connection = new Connection(channel, {
      name,
      onCommand: (command) => {
        // Nothing is mapped before both sides agree.
        if (responder !== undefined) responder.respond(command);
        else {
          for (const descriptor of command.descriptors) descriptor.release();
          command.fail(Errno.ENODEV);
        }
      },
      timers,
      requestTimeout: milliseconds === 0 ? undefined : milliseconds,
    });
    opened?.(connection);
    try {
      const session = new ClientSession(connection, await agree(connection, maxDmaMaps));
      responder = new DmaResponder(session.pipeline, DEFAULT_MAX_DATA_XFER_SIZE);
      return session;
    } catch (error) {
      connection.close('client and server came to no agreement');
      throw error;
    }
  }

  /** Whether the client ended it. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Ends the connection, if it has not ended. */
  end(reason: string): void {
    this.#ended = true;
    this.connection.close(reason);
  }
}
