import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  Command,
  commandName,
  Errno,
  errnoName,
  errnoNumber,
  type Header,
  HEADER_BYTES,
  MESSAGES,
  readHeader,
  writeHeader,
} from '../../../src/vfio-user/wire/index.ts';
import { hex } from './hex.ts';

const COMMAND: Header = { id: 0x1234, command: 2, size: 48, type: 'command', noReply: false, errno: 0 };

function written(header: Header): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  writeHeader(bytes, 0, header);
  return bytes;
}

const headers: fc.Arbitrary<Header> = fc.oneof(
  fc.record({
    id: fc.nat({ max: 0xffff }),
    command: fc.nat({ max: 0xffff }),
    size: fc.nat({ max: 0xffff_ffff }),
    type: fc.constant('command' as const),
    noReply: fc.boolean(),
    errno: fc.constant(0),
  }),
  fc.record({
    id: fc.nat({ max: 0xffff }),
    command: fc.nat({ max: 0xffff }),
    size: fc.nat({ max: 0xffff_ffff }),
    type: fc.constant('reply' as const),
    noReply: fc.constant(false),
    errno: fc.nat({ max: 0xffff_ffff }),
  }),
);

describe('a header', () => {
  test('of a command is these bytes', () => {
    expect(written(COMMAND)).toEqual(hex('3412 0200 30000000 00000000 00000000'));
  });

  test('of a command without a reply has bit 4 of the flags', () => {
    expect(written({ ...COMMAND, noReply: true })).toEqual(hex('3412 0200 30000000 10000000 00000000'));
  });

  test('of a reply has type 1', () => {
    expect(written({ ...COMMAND, type: 'reply', size: 16 })).toEqual(
      hex('3412 0200 10000000 01000000 00000000'),
    );
  });

  test('of a failure has bit 5 of the flags and the error', () => {
    expect(written({ ...COMMAND, type: 'reply', size: 16, errno: Errno.EINVAL })).toEqual(
      hex('3412 0200 10000000 21000000 16000000'),
    );
  });

  test('is read as it was written, wherever it is', () => {
    fc.assert(
      fc.property(headers, fc.nat({ max: 40 }), (header, at) => {
        const bytes = new Uint8Array(at + HEADER_BYTES + 3).fill(0x5a);
        writeHeader(bytes, at, header);
        expect(readHeader(bytes, at)).toEqual(header);
      }),
    );
  });

  test('is read from any bytes, unless its type is neither', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const type = bytes[8]! & 0xf;
        expect(readHeader(bytes, 0)?.type).toBe(['command', 'reply'][type]);
      }),
    );
  });

  test('of a failure without a number is EIO', () => {
    expect(readHeader(hex('0000 0200 10000000 21000000 00000000'), 0)).toMatchObject({ errno: Errno.EIO });
  });

  test('has no error where the error bit is not set', () => {
    expect(readHeader(hex('0000 0200 10000000 01000000 16000000'), 0)).toMatchObject({ errno: 0 });
  });

  test('of a command has no error, for there the field is reserved', () => {
    expect(readHeader(hex('0000 0200 10000000 20000000 16000000'), 0)).toMatchObject({ errno: 0 });
  });

  test('of a reply wants no reply, whatever its bit says', () => {
    expect(readHeader(hex('0000 0200 10000000 11000000 00000000'), 0)).toMatchObject({ noReply: false });
  });

  test('ignores flags without a meaning', () => {
    expect(readHeader(hex('3412 0200 30000000 c0ffffff 00000000'), 0)).toEqual(COMMAND);
  });
});

describe('names', () => {
  test('of commands are the specification’s', () => {
    expect(
      [Command.VERSION, Command.DMA_MAP, Command.MIG_DATA_WRITE].map((command) => commandName(command)),
    ).toEqual(['VERSION', 'DMA_MAP', 'MIG_DATA_WRITE']);
  });

  test('of unknown commands are their numbers', () => {
    expect(commandName(14)).toBe('command 14');
  });

  test('of errors are those of errno.h', () => {
    expect([errnoName(22), errnoName(17), errnoName(95)]).toEqual(['EINVAL', 'EEXIST', 'EOPNOTSUPP']);
  });

  test('of unknown errors are their numbers', () => {
    expect(errnoName(4095)).toBe('errno 4095');
  });

  test('of errors lead back to their numbers', () => {
    expect(Object.values(Errno).map((number) => errnoNumber(errnoName(number)))).toEqual(
      Object.values(Errno),
    );
  });

  test('that nobody knows have no number', () => {
    expect([errnoNumber('toString'), errnoNumber('EWHATEVER')]).toEqual([undefined, undefined]);
  });
});

describe('the table of messages', () => {
  test('has every command under its name', () => {
    expect(Object.entries(MESSAGES).map(([number, { name }]) => [name, Number(number)])).toEqual(
      Object.entries(Command),
    );
  });

  test('has the two commands that servers send', () => {
    const fromServer = Object.values(MESSAGES).filter(({ from }) => from === 'server');

    expect(fromServer.map(({ name }) => name)).toEqual(['DMA_READ', 'DMA_WRITE']);
  });

  test('lets descriptors come where the specification has them', () => {
    const withDescriptors = Object.values(MESSAGES)
      .filter((message) => message.maxRequestDescriptors + message.maxReplyDescriptors > 0)
      .map((message) => [message.name, message.maxRequestDescriptors, message.maxReplyDescriptors]);

    expect(withDescriptors).toEqual([
      ['VERSION', 0, 1],
      ['DMA_MAP', 1, 0],
      ['DEVICE_GET_REGION_INFO', 0, Infinity],
      ['DEVICE_GET_REGION_IO_FDS', 0, Infinity],
      ['DEVICE_SET_IRQS', Infinity, 0],
    ]);
  });
});
