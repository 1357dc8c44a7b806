import { accept, type Codec, refuse, refuseLength, viewOf } from './codec.ts';
import { type Capabilities, capabilitiesText, readCapabilities } from './capabilities.ts';
import { readUtf8, writeAscii } from './text.ts';

const BYTES = 4;

/** Bytes of version data, NUL included, beyond which it is refused unread: peers send some 200. */
export const LARGEST_VERSION_DATA = 16_384;

/** What one side proposes or agrees to. Source: vfio-user, "VFIO_USER_VERSION". */
export interface VersionMessage {
  /** 0 to 0xffff. */
  readonly major: number;
  /** 0 to 0xffff. */
  readonly minor: number;
  readonly capabilities: Capabilities;
}

/**
 * VERSION, the same in both directions. The data may be missing, which is no capabilities. Data without its NUL is
 * refused, as the specification makes the NUL a part of it and as QEMU and libvfio-user do; the encoder always writes
 * data and NUL. Keys beside `capabilities` are ignored.
 */
const version: Codec<VersionMessage> = {
  encode(value) {
    const text = dataText(value.capabilities);
    const bytes = new Uint8Array(BYTES + text.length + 1);
    const view = viewOf(bytes);
    view.setUint16(0, value.major, true);
    view.setUint16(2, value.minor, true);
    writeAscii(text, bytes.subarray(BYTES));
    return bytes;
  },
  decode(bytes) {
    if (bytes.length < BYTES) return refuseLength('VERSION', bytes, BYTES);
    const view = viewOf(bytes);
    const major = view.getUint16(0, true);
    const minor = view.getUint16(2, true);
    const data = bytes.subarray(BYTES);
    if (data.length === 0) return accept({ major, minor, capabilities: {} });
    if (data.length > LARGEST_VERSION_DATA) {
      return refuse(`VERSION: ${data.length} bytes of data, must be at most ${LARGEST_VERSION_DATA}`);
    }
    if (data[data.length - 1] !== 0) return refuse('VERSION: the data does not end with a NUL');
    const text = readUtf8(data.subarray(0, -1));
    if (text === undefined) return refuse('VERSION: the data is not UTF-8');
    const capabilities = readCapabilities(text);
    if (!capabilities.ok) return capabilities;
    // Escapes and numbers can be longer than what they came as; what is accepted here can also be sent on.
    if (dataText(capabilities.value).length >= LARGEST_VERSION_DATA) {
      return refuse(`VERSION: the data is longer than ${LARGEST_VERSION_DATA} bytes when it is written out`);
    }
    return accept({ major, minor, capabilities: capabilities.value });
  },
};

function dataText(capabilities: Capabilities): string {
  return `{"capabilities":${capabilitiesText(capabilities)}}`;
}

/** VERSION, the first message of a connection. */
export const versionRequest: Codec<VersionMessage> = version;

/** The reply to VERSION. */
export const versionReply: Codec<VersionMessage> = version;
