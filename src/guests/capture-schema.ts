/**
 * capture.json, checked field by field.
 *
 * In a file of its own because it is the only one that needs zod: who reads ELF cores alone never loads it.
 *
 * @module
 */
import { z } from 'zod';
import { GuestFileError, quote } from './guest-file-error.ts';

/** The value of `format` that this reader knows. */
export const CAPTURE_FORMAT = 'viommu-capture/1';

/** A register dump as capture.json has it. */
export interface RegistersJson {
  /** Guest-physical byte address of offset 0, hexadecimal. */
  readonly base: string;
  /** The bytes from offset 0, two hexadecimal digits each. */
  readonly hex: string;
}

/** A PCI function as capture.json has it. */
export interface PciFunctionJson {
  readonly bdf: string;
  readonly vendor: string;
  readonly device: string;
  readonly class: string;
  readonly group: string | null;
  readonly driver: string | null;
}

/** Names of files in the capture's folder. */
export interface CaptureFilesJson {
  readonly memory?: string | undefined;
  readonly mappings?: string | undefined;
  readonly mappingsByRequester?: Readonly<Record<string, string>> | undefined;
  readonly replay?: string | undefined;
  readonly events?: string | undefined;
  readonly finalMemory?: string | undefined;
  readonly finalMappings?: string | undefined;
  readonly requests?: string | undefined;
}

/** What of capture.json is read; other fields are allowed and ignored. */
export interface CaptureJson {
  readonly format: string;
  readonly name: string;
  readonly description: string;
  readonly iommu: {
    readonly model: string;
    readonly registers?: RegistersJson | undefined;
    readonly finalRegisters?: RegistersJson | undefined;
  };
  readonly ram: readonly { readonly gpa: string; readonly size: string }[];
  readonly pci: readonly PciFunctionJson[];
  readonly plug: { readonly requester: string } | null;
  readonly files: CaptureFilesJson;
  readonly qemuTiming?:
    | { readonly maps: number; readonly deviceAddMs: number; readonly firstToLastMapMs: number }
    | undefined;
}

const hex = z
  .string()
  .regex(/^0x[0-9a-f]{1,16}$/i, 'expected hexadecimal text of up to 64 bits, as "0x1000"');
const bdf = z
  .string()
  .regex(/^[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/i, 'expected bus:device.function, as "02:00.0"');
/** Only names: a capture never reaches outside its own folder. */
const fileName = z
  .string()
  .refine(isPlainName, 'expected the name of a file in the folder of the capture, without a path');
const registers = z.object({
  base: hex,
  hex: z
    .string()
    .min(2, 'expected the register bytes, got none')
    .regex(/^[0-9a-f]*$/i, 'expected hexadecimal digits only')
    .refine((text) => text.length % 2 === 0, 'expected two digits a byte, got an odd number of digits'),
});

const schema = z.object({
  format: z.literal(CAPTURE_FORMAT),
  name: z.string().min(1),
  description: z.string(),
  iommu: z.object({
    model: z.string().min(1),
    registers: registers.optional(),
    finalRegisters: registers.optional(),
  }),
  ram: z.array(z.object({ gpa: hex, size: hex })).min(1),
  pci: z.array(
    z.object({
      bdf,
      vendor: hex,
      device: hex,
      class: hex,
      group: z.string().nullable(),
      driver: z.string().nullable(),
    }),
  ),
  plug: z.object({ requester: bdf }).nullable(),
  files: z.object({
    memory: fileName.optional(),
    mappings: fileName.optional(),
    mappingsByRequester: z.record(bdf, fileName).optional(),
    replay: fileName.optional(),
    events: fileName.optional(),
    finalMemory: fileName.optional(),
    finalMappings: fileName.optional(),
    requests: fileName.optional(),
  }),
  qemuTiming: z
    .object({ maps: z.number(), deviceAddMs: z.number(), firstToLastMapMs: z.number() })
    .optional(),
});

/**
 * The parsed content of capture.json as {@link CaptureJson}.
 *
 * @param value what JSON.parse gave
 * @param file path of capture.json, for the error
 * @throws GuestFileError naming the JSON path of the first wrong field
 */
export function checkCaptureJson(value: unknown, file: string): CaptureJson {
  const result = schema.safeParse(value);
  if (result.success) {
    return result.data;
  }
  const issue = result.error.issues[0];
  const path = issue?.path ?? [];
  const got = path.reduce<unknown>(
    (at, key) =>
      typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  );
  throw new GuestFileError({
    code: 'capture',
    file,
    place: jsonPath(path),
    problem: `${issue?.message ?? 'does not fit the format'}; found ${got === undefined ? 'nothing' : quote(got)}`,
    remedy: `correct this field as ${CAPTURE_FORMAT} has it (docs/capture-format.md)`,
  });
}

function isPlainName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && name.length <= 255 && !/[/\\:]|\0/.test(name);
}

/** A path of keys and indexes as a person would write it: `$.pci[3].bdf`. */
export function jsonPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') {
      return `${text}[${key}]`;
    }
    const name = String(key);
    return /^[A-Za-z_]\w*$/.test(name) ? `${text}.${name}` : `${text}[${quote(name)}]`;
  }, '$');
}
