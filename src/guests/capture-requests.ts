/** The requests of a capture whose IOMMU has no tables: lines of a virtio-iommu driver's requests, in order. @module */
import { spec } from '../models/virtio/index.ts';
import { type CaptureLine, fieldError } from './capture-lines.ts';

/** One line: a request of the guest's driver, or the moment of the plug. */
export type CaptureRequest =
  | { readonly t: number; readonly op: 'plug' }
  | { readonly t: number; readonly op: 'request'; readonly request: spec.Request };

/** `{"t","op"}` with the fields of the request, as the specification calls them. GuestFileError for anything else. */
export function parseRequest(line: CaptureLine): CaptureRequest {
  const { t, op } = line.value;
  if (typeof t !== 'number' || !Number.isFinite(t)) {
    throw fieldError(line, 't', 'expected seconds as a number');
  }
  return op === 'plug' ? { t, op } : { t, op: 'request', request: requestOf(line) };
}

function requestOf(line: CaptureLine): spec.Request {
  switch (line.value['op']) {
    case 'attach': {
      const flags = line.value['flags'] === undefined ? 0 : word(line, 'flags');
      const [domain, endpoint] = [word(line, 'domain'), word(line, 'endpoint')];
      return { type: spec.T_ATTACH, domain, endpoint, flags, reserved: 0 };
    }
    case 'detach':
      return { type: spec.T_DETACH, domain: word(line, 'domain'), endpoint: word(line, 'endpoint') };
    case 'map':
      return {
        type: spec.T_MAP,
        domain: word(line, 'domain'),
        virt_start: address(line, 'virt_start'),
        virt_end: address(line, 'virt_end'),
        phys_start: address(line, 'phys_start'),
        flags: word(line, 'flags'),
      };
    case 'unmap': {
      const [virt_start, virt_end] = [address(line, 'virt_start'), address(line, 'virt_end')];
      return { type: spec.T_UNMAP, domain: word(line, 'domain'), virt_start, virt_end, reserved: 0 };
    }
    default:
      throw fieldError(line, 'op', 'expected "attach", "detach", "map", "unmap" or "plug"');
  }
}

/** An unsigned 32-bit number. */
function word(line: CaptureLine, field: string): number {
  const value = line.value[field];
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32) return value;
  throw fieldError(line, field, 'expected an integer of 32 bits');
}

/** A byte address: what a driver may send need not be aligned. */
function address(line: CaptureLine, field: string): bigint {
  const text = line.value[field];
  if (typeof text === 'string' && /^0x[0-9a-f]{1,16}$/i.test(text)) return BigInt(text);
  throw fieldError(line, field, 'expected a hexadecimal address of up to 64 bits, as "0x1000"');
}

/**
 * The requests with the endpoints and domains that the guest meant. Some recordings have their decimal digits read as
 * hexadecimal ones: endpoint 512 (02:00.0) is 1298 (0x512) there. It shows in that more of the endpoints exist when they
 * are read back than as they stand; other recordings come back as they are, the same array.
 *
 * @param endpoints requester IDs that there are
 */
export function requestsAsMeant(
  requests: readonly CaptureRequest[],
  endpoints: ReadonlySet<number>,
): readonly CaptureRequest[] {
  const attached = requests.flatMap((line) =>
    line.op === 'request' && 'endpoint' in line.request ? [line.request.endpoint] : [],
  );
  const readings = attached.map(readBack).filter((endpoint) => endpoint !== undefined);
  const known = (ids: readonly number[]): number => ids.filter((id) => endpoints.has(id)).length;
  const misread = readings.length === attached.length && known(readings) > known(attached);
  if (!misread) return requests;
  return requests.map((line) => (line.op === 'plug' ? line : { ...line, request: corrected(line.request) }));
}

function corrected(request: spec.Request): spec.Request {
  const meant = { ...request };
  if ('endpoint' in meant) Object.assign(meant, { endpoint: readBack(meant.endpoint) ?? meant.endpoint });
  if ('domain' in meant) Object.assign(meant, { domain: readBack(meant.domain) ?? meant.domain });
  return meant;
}

/** The number whose decimal digits `value` has in hexadecimal; undefined when it has others. */
function readBack(value: number): number | undefined {
  const digits = value.toString(16);
  return /^\d+$/.test(digits) ? Number(digits) : undefined;
}
