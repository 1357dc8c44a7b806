/** What client and server agree on before anything else. Source: vfio-user, "VFIO_USER_VERSION". @module */
import { NO_DESCRIPTORS, type Reply } from '../command.ts';
import type { Connection } from '../connection.ts';
import { type Descriptor, releaseAll } from '../descriptor.ts';
import {
  type Codec,
  Command,
  type CommandNumber,
  commandName,
  DEFAULT_MAX_DATA_XFER_SIZE,
  DEFAULT_MAX_DMA_MAPS,
  DEFAULT_MAX_MSG_FDS,
  DEFAULT_PGSIZES,
  type DeviceInfo,
  deviceInfoReply,
  deviceInfoRequest,
  errnoName,
  MAX_DMA_MAPS,
  UNSTATED_MAX_MSG_FDS,
  type VersionMessage,
  versionReply,
  versionRequest,
} from '../wire/index.ts';
import { ServerRefusedError, UnusableServerError } from './errors.ts';

/** The version that is proposed. Every server of this major version knows it, for it is the least, and QEMU proposes it too. */
const PROPOSED = { major: 0, minor: 0 } as const;
const DEVICE_INFO_BYTES = 16;

/** What holds for one connection. */
export interface Agreement {
  /** The server's answer as it came. */
  readonly version: VersionMessage;
  readonly info: DeviceInfo;
  /** Mappings that the server takes at once. */
  readonly maxDmaMaps: number;
  /** Page sizes of mappings, or'ed together, in bytes. */
  readonly pgsizes: bigint;
  /** Bytes in one read or write. */
  readonly maxDataXferSize: number;
  /** Descriptors that the server takes in one message. */
  readonly maxMsgFds: number;
  /** Whether mappings may name the file of the last descriptor: see `DmaMap.sameFile`. */
  readonly sameFile: boolean;
}

/**
 * Proposes a version, checks the answer, and asks what the device is.
 *
 * @param maxDmaMaps mappings that the client means to make at once, when it knows
 * @throws UnusableServerError, ServerRefusedError or ConnectionLostError
 */
export async function agree(connection: Connection, maxDmaMaps: number | undefined): Promise<Agreement> {
  const proposal: VersionMessage = {
    ...PROPOSED,
    capabilities: {
      maxMsgFds: DEFAULT_MAX_MSG_FDS,
      maxDataXferSize: DEFAULT_MAX_DATA_XFER_SIZE,
      maxDmaMaps: maxDmaMaps ?? MAX_DMA_MAPS,
      pgsizes: DEFAULT_PGSIZES,
      ...(connection.passesDescriptors ? { viommu: { sameFile: true } } : {}),
    },
  };
  const version = await ask(connection, Command.VERSION, versionRequest.encode(proposal), versionReply);
  const { capabilities } = version;
  if (version.major !== PROPOSED.major || version.minor > PROPOSED.minor) {
    throw unusable(
      connection,
      `speaks version ${version.major}.${version.minor} of vfio-user, not ${PROPOSED.major}.${PROPOSED.minor}: ` +
        'use a server that answers with the version that is proposed',
    );
  }
  if (capabilities.twinSocket?.supported === true) {
    throw unusable(connection, 'wants a twin socket, which was not proposed: turn that off in the server');
  }
  const size = capabilities.maxDataXferSize ?? DEFAULT_MAX_DATA_XFER_SIZE;
  if (size === 0) throw unusable(connection, 'takes no data in its messages: raise its max_data_xfer_size');
  const pgsizes = capabilities.pgsizes ?? DEFAULT_PGSIZES;
  if (pgsizes === 0n) throw unusable(connection, 'announces no page size: set a bit of its pgsizes');
  const info = await ask(
    connection,
    Command.DEVICE_GET_INFO,
    deviceInfoRequest.encode({ argsz: DEVICE_INFO_BYTES }),
    deviceInfoReply,
  );
  return {
    version,
    info,
    maxDmaMaps: Math.min(
      capabilities.maxDmaMaps ?? DEFAULT_MAX_DMA_MAPS,
      maxDmaMaps ?? Number.POSITIVE_INFINITY,
    ),
    pgsizes,
    // A server's larger messages would not be taken here.
    maxDataXferSize: Math.min(size, DEFAULT_MAX_DATA_XFER_SIZE),
    maxMsgFds: capabilities.maxMsgFds ?? UNSTATED_MAX_MSG_FDS,
    sameFile: connection.passesDescriptors && capabilities.viommu?.sameFile === true,
  };
}

/**
 * One request whose reply carries no descriptors. An answer that cannot be understood ends the connection.
 *
 * @param what the request in words, for errors; the command's name when left out
 */
export async function ask<T>(
  connection: Connection,
  command: CommandNumber,
  payload: Uint8Array | undefined,
  reply: Codec<T>,
  what: string = commandName(command),
  descriptors: readonly Descriptor[] = NO_DESCRIPTORS,
): Promise<T> {
  const answer = await answered(connection, command, payload, what, descriptors);
  releaseAll(answer.descriptors);
  return understood(connection, reply, answer);
}

/** The server's answer to one request, which must not be an errno. Its descriptors are the caller's. */
export async function answered(
  connection: Connection,
  command: CommandNumber,
  payload: Uint8Array | undefined,
  what: string,
  descriptors: readonly Descriptor[] = NO_DESCRIPTORS,
): Promise<Reply> {
  const answer = await connection.request(command, payload, descriptors);
  if (answer.errno === 0) return answer;
  throw new ServerRefusedError(connection.name, commandName(command), errnoName(answer.errno), what);
}

/** The value of an answer. */
export function understood<T>(connection: Connection, reply: Codec<T>, answer: Reply): T {
  const decoded = reply.decode(answer.payload);
  if (decoded.ok) return decoded.value;
  throw unusable(
    connection,
    `gave an answer that makes no sense (${decoded.reason}): use another version of it`,
  );
}

/** The error for a server that cannot be used; ends the connection. */
export function unusable(connection: Connection, problem: string): UnusableServerError {
  connection.close(`${connection.name} ${problem}`);
  return new UnusableServerError(connection.name, problem);
}
