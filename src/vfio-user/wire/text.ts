/** Text in messages, without TextDecoder, which is not part of the language. @module */

/** The text of UTF-8 bytes; undefined when they are none. Meant for short texts. */
export function readUtf8(bytes: Uint8Array): string | undefined {
  let escaped = '';
  for (const byte of bytes) {
    escaped +=
      byte < 0x80 && byte !== 0x25 ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, '0')}`;
  }
  try {
    return decodeURIComponent(escaped);
  } catch {
    return undefined;
  }
}

/** Writes text of ASCII characters to the beginning of `bytes`, which has room for it. */
export function writeAscii(text: string, bytes: Uint8Array): void {
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
}
