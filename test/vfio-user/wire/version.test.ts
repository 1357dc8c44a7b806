import { describe, expect, test } from 'vitest';
import { LARGEST_VERSION_DATA, versionRequest } from '../../../src/vfio-user/wire/index.ts';

/** VERSION 0.1 with these bytes as data. */
function withBytes(data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + data.length);
  bytes[2] = 1;
  bytes.set(data, 4);
  return bytes;
}

/** VERSION 0.1 with this text and a NUL. */
function withText(text: string): Uint8Array {
  return withBytes(new TextEncoder().encode(`${text}\0`));
}

function withCapabilities(text: string): Uint8Array {
  return withText(`{"capabilities":${text}}`);
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.subarray(4));
}

describe('accepted', () => {
  test('a version without data', () => {
    expect(versionRequest.decode(Uint8Array.of(1, 0, 2, 0))).toEqual({
      ok: true,
      value: { major: 1, minor: 2, capabilities: {} },
    });
  });

  test('data without capabilities', () => {
    expect(versionRequest.decode(withText('{"vendor":{"max_msg_fds":"x"}}'))).toMatchObject({
      value: { capabilities: {} },
    });
  });

  test('numbers in other notations', () => {
    expect(versionRequest.decode(withCapabilities('{"max_msg_fds":1.6e1,"max_dma_maps":-0}'))).toMatchObject({
      value: { capabilities: { maxMsgFds: 16, maxDmaMaps: 0 } },
    });
  });

  test('page sizes of all powers of two from 4 KiB, exactly', () => {
    expect(versionRequest.decode(withCapabilities('{"pgsizes":18446744073709547520}'))).toMatchObject({
      value: { capabilities: { pgsizes: 0xffff_ffff_ffff_f000n } },
    });
  });

  test('characters of several bytes', () => {
    expect(versionRequest.decode(withCapabilities('{"naïve 💾 100%":"%41 ü"}'))).toMatchObject({
      value: { capabilities: { other: { 'naïve 💾 100%': '%41 ü' } } },
    });
  });

  test('a key named __proto__, as a key', () => {
    const decoded = versionRequest.decode(
      withCapabilities('{"__proto__":{"max_msg_fds":3},"constructor":1}'),
    );

    const capabilities = decoded.ok ? decoded.value.capabilities : {};
    expect(capabilities.maxMsgFds).toBeUndefined();
    expect(Object.keys(capabilities.other ?? {})).toEqual(['__proto__', 'constructor']);
    expect(Object.getPrototypeOf(capabilities.other)).toBe(Object.prototype);
  });

  test('nesting 32 deep', () => {
    const value = `${'['.repeat(30)}${']'.repeat(30)}`;

    expect(versionRequest.decode(withCapabilities(`{"x":${value}}`))).toMatchObject({ ok: true });
  });

  test('brackets in strings, which do not nest', () => {
    const text = `{"x":"\\"${'[{'.repeat(100)}"}`;

    expect(versionRequest.decode(withCapabilities(text))).toMatchObject({ ok: true });
  });

  test('as much data as is read at all', () => {
    const text = '{"capabilities":{"x":""}}';
    const filled = text.replace('""', `"${'a'.repeat(LARGEST_VERSION_DATA - text.length - 1)}"`);

    expect(versionRequest.decode(withText(filled))).toMatchObject({ ok: true });
  });
});

describe('refused with EINVAL', () => {
  test.each([
    ['three bytes', Uint8Array.of(0, 0, 1)],
    ['data without a NUL', withBytes(new TextEncoder().encode('{}'))],
    ['a NUL alone', withText('')],
    ['a NUL in the middle', withText('{}\0{}')],
    ['no JSON', withText('{"capabilities":')],
    ['JSON with something behind it', withText('{} {}')],
    ['a list', withText('[]')],
    ['null', withText('null')],
    ['a number', withText('1')],
    ['bytes that are no UTF-8', withBytes(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d, 0))],
    ['a character in too many bytes', withBytes(Uint8Array.of(0x22, 0xc0, 0x80, 0x22, 0))],
    ['half of a surrogate pair', withBytes(Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22, 0))],
    ['capabilities that are a list', withCapabilities('[]')],
    ['capabilities that are null', withCapabilities('null')],
    ['capabilities that are text', withCapabilities('"x"')],
    ['max_msg_fds as text', withCapabilities('{"max_msg_fds":"16"}')],
    ['max_msg_fds below 0', withCapabilities('{"max_msg_fds":-1}')],
    ['max_msg_fds with a fraction', withCapabilities('{"max_msg_fds":1.5}')],
    ['max_msg_fds null', withCapabilities('{"max_msg_fds":null}')],
    ['max_msg_fds in a list', withCapabilities('{"max_msg_fds":[16]}')],
    ['max_msg_fds true', withCapabilities('{"max_msg_fds":true}')],
    ['max_dma_maps beyond 2^53', withCapabilities('{"max_dma_maps":9007199254740992}')],
    ['max_data_xfer_size beyond all numbers', withCapabilities('{"max_data_xfer_size":1e999}')],
    ['pgsizes of 2^64', withCapabilities('{"pgsizes":18446744073709551616}')],
    ['pgsizes below 0', withCapabilities('{"pgsizes":-4096}')],
    ['pgsizes as text', withCapabilities('{"pgsizes":"4096"}')],
    ['pgsizes with a fraction', withCapabilities('{"pgsizes":4096.5}')],
    ['write_multiple as a number', withCapabilities('{"write_multiple":1}')],
    ['migration as a number', withCapabilities('{"migration":1}')],
    ['migration as a list', withCapabilities('{"migration":[]}')],
    ['migration with page sizes as text', withCapabilities('{"migration":{"pgsize":"4096"}}')],
    ['twin_socket as a boolean', withCapabilities('{"twin_socket":true}')],
    ['twin_socket with a descriptor below 0', withCapabilities('{"twin_socket":{"fd_index":-1}}')],
    ['viommu as a boolean', withCapabilities('{"viommu":true}')],
    ['viommu with same_file as a number', withCapabilities('{"viommu":{"same_file":1}}')],
    ['nesting 33 deep', withCapabilities(`{"x":${'['.repeat(31)}${']'.repeat(31)}}`)],
    ['nesting as deep as data allows', withText('['.repeat(LARGEST_VERSION_DATA - 1))],
    [
      'data that grows beyond what is read',
      withCapabilities(`{"x":"${'ü'.repeat(LARGEST_VERSION_DATA / 4)}"}`),
    ],
    ['more data than is read', withText(' '.repeat(LARGEST_VERSION_DATA))],
  ])('%s', (_name, bytes) => {
    expect(versionRequest.decode(bytes)).toEqual({
      ok: false,
      errno: 22,
      reason: expect.stringMatching(/^VERSION: ./),
    });
  });
});

describe('encoded', () => {
  test('no capabilities are an empty object and a NUL', () => {
    const bytes = versionRequest.encode({ major: 0, minor: 1, capabilities: {} });

    expect(textOf(bytes)).toBe('{"capabilities":{}}\0');
  });

  test('page sizes have all their digits', () => {
    const bytes = versionRequest.encode({
      major: 0,
      minor: 1,
      capabilities: { pgsizes: 0xffff_ffff_ffff_f000n },
    });

    expect(textOf(bytes)).toBe('{"capabilities":{"pgsizes":18446744073709547520}}\0');
  });

  test('all characters beyond ASCII are escaped', () => {
    const bytes = versionRequest.encode({ major: 0, minor: 1, capabilities: { other: { é: '💾\ud800' } } });

    expect(textOf(bytes)).toBe('{"capabilities":{"\\u00e9":"\\ud83d\\udcbe\\ud800"}}\0');
  });

  test('a key of the specification among the others does not come twice', () => {
    const bytes = versionRequest.encode({
      major: 0,
      minor: 1,
      capabilities: { maxMsgFds: 1, other: { max_msg_fds: 2, pgsizes: 3 } },
    });

    expect(textOf(bytes)).toBe('{"capabilities":{"max_msg_fds":1}}\0');
  });
});
