/** The capabilities in a VERSION message: JSON on the wire. @module */
import { accept, type Decoded, refuse } from './codec.ts';

/** What one side can do; a missing member is one that the JSON does not have. Source: vfio-user, "Version", table of capabilities. */
export interface Capabilities {
  /** `max_msg_fds`: descriptors that the sender takes in one message; missing is 1. */
  readonly maxMsgFds?: number;
  /** `max_data_xfer_size`: bytes in one read or write; missing is 1 MiB. */
  readonly maxDataXferSize?: number;
  /** `max_dma_maps`: mappings at one time; missing is 65535. */
  readonly maxDmaMaps?: number;
  /** `pgsizes`: page sizes or'ed together, less than 2^64; missing is 4096. Multiples of 4096 are exact on the wire, others up to 2^53. */
  readonly pgsizes?: bigint;
  /** `write_multiple`: REGION_WRITE_MULTI is understood. */
  readonly writeMultiple?: boolean;
  /** `migration`: what dirty pages are reported in. */
  readonly migration?: MigrationCapability;
  /** `twin_socket`: commands of the server go through a socket of their own. */
  readonly twinSocket?: TwinSocketCapability;
  /** `viommu`: extensions of viommu, which the specification does not have. */
  readonly viommu?: ViommuCapability;
  /** Members that neither the specification nor viommu has. */
  readonly other?: Readonly<Record<string, unknown>>;
}

/** What QEMU and libvfio-user say about migration. */
export interface MigrationCapability {
  /** `pgsize`: bytes of a page in a bitmap. */
  readonly pgsize?: number;
  /** `max_bitmap_size`: bytes. */
  readonly maxBitmapSize?: number;
}

/** Source: vfio-user, "Version", `twin_socket`. */
export interface TwinSocketCapability {
  /** Missing is false. */
  readonly supported?: boolean;
  /** `fd_index`: which descriptor of the reply is the socket. */
  readonly fdIndex?: number;
}

/** Extensions, as docs/vfio-user.md describes them. A server says nothing of one that was not proposed. */
export interface ViommuCapability {
  /** `same_file`: DMA_MAP may name the file of the last descriptor instead of bringing one; see `DmaMap.sameFile`. Missing is false. */
  readonly sameFile?: boolean;
}

/** Objects and arrays within each other, beyond which text is refused: a recursive reader would run out of stack. */
const DEEPEST = 32;

type Json = Readonly<Record<string, unknown>>;

/** The value of a key, checked, or what it must be. */
type Member = {
  readonly key: string;
  readonly name: string;
  readonly check: (value: unknown) => unknown;
  readonly must: string;
};

const COUNT = 'an integer from 0 to 2^53 - 1';

const MEMBERS: readonly Member[] = [
  { key: 'max_msg_fds', name: 'maxMsgFds', check: count, must: COUNT },
  { key: 'max_data_xfer_size', name: 'maxDataXferSize', check: count, must: COUNT },
  { key: 'max_dma_maps', name: 'maxDmaMaps', check: count, must: COUNT },
  { key: 'pgsizes', name: 'pgsizes', check: pageSizes, must: 'an integer from 0 to 2^64 - 1' },
  { key: 'write_multiple', name: 'writeMultiple', check: boolean, must: 'true or false' },
];

const MIGRATION: readonly Member[] = [
  { key: 'pgsize', name: 'pgsize', check: count, must: COUNT },
  { key: 'max_bitmap_size', name: 'maxBitmapSize', check: count, must: COUNT },
];

const TWIN_SOCKET: readonly Member[] = [
  { key: 'supported', name: 'supported', check: boolean, must: 'true or false' },
  { key: 'fd_index', name: 'fdIndex', check: count, must: COUNT },
];

const VIOMMU: readonly Member[] = [
  { key: 'same_file', name: 'sameFile', check: boolean, must: 'true or false' },
];

const OBJECTS: readonly {
  readonly key: string;
  readonly name: string;
  readonly members: readonly Member[];
}[] = [
  { key: 'migration', name: 'migration', members: MIGRATION },
  { key: 'twin_socket', name: 'twinSocket', members: TWIN_SOCKET },
  { key: 'viommu', name: 'viommu', members: VIOMMU },
];

const KNOWN: ReadonlySet<string> = new Set([...MEMBERS, ...OBJECTS].map((member) => member.key));

/** The capabilities in the text of a VERSION message. Never throws. */
export function readCapabilities(text: string): Decoded<Capabilities> {
  if (depthOf(text) > DEEPEST) return refuse(`VERSION: the JSON is nested deeper than ${DEEPEST}`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return refuse('VERSION: the data is not JSON');
  }
  if (!isObject(json)) return refuse('VERSION: the data is not a JSON object');
  const capabilities = own(json, 'capabilities');
  if (capabilities === undefined) return accept({});
  if (!isObject(capabilities)) return refuse('VERSION: capabilities must be an object');

  const entries: [string, unknown][] = [];
  const wrong = readMembers(capabilities, MEMBERS, 'capabilities', entries);
  if (wrong !== undefined) return refuse(wrong);
  for (const { key, name, members } of OBJECTS) {
    const object = own(capabilities, key);
    if (object === undefined) continue;
    if (!isObject(object)) return refuse(`VERSION: ${key} must be an object`);
    const inner: [string, unknown][] = [];
    const wrongInside = readMembers(object, members, key, inner);
    if (wrongInside !== undefined) return refuse(wrongInside);
    entries.push([name, Object.fromEntries(inner)]);
  }
  const other = Object.entries(capabilities).filter(([key]) => !KNOWN.has(key));
  // fromEntries defines members and does not assign them: a key such as __proto__ is a key like others.
  if (other.length > 0) entries.push(['other', Object.fromEntries(other)]);
  return accept(Object.fromEntries(entries) as Capabilities);
}

/** Adds the known members of `object` to `entries`; what is wrong, if something is. */
function readMembers(
  object: Json,
  members: readonly Member[],
  where: string,
  entries: [string, unknown][],
): string | undefined {
  for (const { key, name, check, must } of members) {
    const value = own(object, key);
    if (value === undefined) continue;
    const checked = check(value);
    if (checked === undefined) return `VERSION: ${where}.${key} must be ${must}`;
    entries.push([name, checked]);
  }
  return undefined;
}

/** The JSON text of capabilities, in ASCII. */
export function capabilitiesText(capabilities: Capabilities): string {
  const { migration, twinSocket, viommu } = capabilities;
  const texts = Object.entries(capabilities.other ?? {})
    .filter(([key]) => !KNOWN.has(key))
    .map(([key, value]) => [key, JSON.stringify(value)] as const);
  return objectText([
    ['max_msg_fds', capabilities.maxMsgFds],
    ['max_data_xfer_size', capabilities.maxDataXferSize],
    ['max_dma_maps', capabilities.maxDmaMaps],
    // By toString of a bigint, for a number of this size would be written with fewer digits than it has.
    ['pgsizes', capabilities.pgsizes],
    ['write_multiple', capabilities.writeMultiple],
    [
      'migration',
      migration &&
        objectText([
          ['pgsize', migration.pgsize],
          ['max_bitmap_size', migration.maxBitmapSize],
        ]),
    ],
    [
      'twin_socket',
      twinSocket &&
        objectText([
          ['supported', twinSocket.supported],
          ['fd_index', twinSocket.fdIndex],
        ]),
    ],
    ['viommu', viommu && objectText([['same_file', viommu.sameFile]])],
    ...texts,
  ]);
}

function objectText(
  members: readonly (readonly [key: string, text: string | number | bigint | boolean | undefined])[],
): string {
  const texts = members.flatMap(([key, text]) =>
    text === undefined ? [] : [`${JSON.stringify(key)}:${text}`],
  );
  // The wire is UTF-8; escapes spare an encoder, and JSON.stringify has escaped what would not be valid Unicode.
  return `{${texts.join(',')}}`.replace(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function own(object: Json, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function count(value: unknown): number | undefined {
  // Adding 0 makes 0 of -0, which JSON has and counts have not.
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) + 0 : undefined;
}

function boolean(value: unknown): boolean | undefined {
  return typeof value === 'boolean' ? value : undefined;
}

/** A double has all multiples of 4096 below 2^64, so page sizes come through JSON as they are. */
function pageSizes(value: unknown): bigint | undefined {
  if (typeof value !== 'number' || !Number.isInteger(value)) return undefined;
  return value >= 0 && value < 2 ** 64 ? BigInt(value) : undefined;
}

/** How deep brackets nest in JSON text; what it says of other text does not matter. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (inString && character === '\\') i++;
    else if (character === '"') inString = !inString;
    else if (!inString && (character === '{' || character === '[')) deepest = Math.max(deepest, ++depth);
    else if (!inString && (character === '}' || character === ']')) depth--;
  }
  return deepest;
}
