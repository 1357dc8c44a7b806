/** Every message in one table, for whoever treats all of them alike. @module */
import { type Codec, emptyPayload } from './codec.ts';
import { Command, commandName } from './commands.ts';
import { deviceFeatureReply, deviceFeatureRequest } from './device-feature.ts';
import { deviceInfoReply, deviceInfoRequest } from './device-info.ts';
import { dmaReadReply, dmaReadRequest, dmaWriteReply, dmaWriteRequest } from './dma-access.ts';
import { dmaMapRequest } from './dma-map.ts';
import { dmaUnmapReply, dmaUnmapRequest } from './dma-unmap.ts';
import { irqInfoReply, irqInfoRequest } from './irq-info.ts';
import { migDataReadReply, migDataReadRequest, migDataWriteReply, migDataWriteRequest } from './migration.ts';
import { regionReadReply, regionReadRequest, regionWriteReply, regionWriteRequest } from './region-access.ts';
import { regionInfoReply, regionInfoRequest } from './region-info.ts';
import { regionIoFdsReply, regionIoFdsRequest } from './region-io-fds.ts';
import { regionWriteMultiReply, regionWriteMultiRequest } from './region-write-multi.ts';
import { setIrqsRequest } from './set-irqs.ts';
import { versionReply, versionRequest } from './version.ts';

/** As many descriptors as the receiver's `max_msg_fds` allows. */
export const MAX_MSG_FDS: number = Number.POSITIVE_INFINITY;

/** One command of the protocol. */
export interface Message {
  /** As {@link commandName}. */
  readonly name: string;
  /** Who sends the command; the other one replies. */
  readonly from: 'client' | 'server';
  // The values of the commands have nothing in common: who knows the command takes its codec by name.
  readonly request: Codec<unknown>;
  readonly reply: Codec<unknown>;
  /** Descriptors that may come with the command: 0, more, or {@link MAX_MSG_FDS}. */
  readonly maxRequestDescriptors: number;
  /** Descriptors that may come with the reply. */
  readonly maxReplyDescriptors: number;
}

/** The commands by number. What is not here is answered with an error, which keeps the connection. Source: vfio-user, "Commands". */
export const MESSAGES: Readonly<Record<number, Message>> = {
  [Command.VERSION]: message(Command.VERSION, versionRequest, versionReply, { reply: 1 }),
  [Command.DMA_MAP]: message(Command.DMA_MAP, dmaMapRequest, emptyPayload, { request: 1 }),
  [Command.DMA_UNMAP]: message(Command.DMA_UNMAP, dmaUnmapRequest, dmaUnmapReply),
  [Command.DEVICE_GET_INFO]: message(Command.DEVICE_GET_INFO, deviceInfoRequest, deviceInfoReply),
  [Command.DEVICE_GET_REGION_INFO]: message(
    Command.DEVICE_GET_REGION_INFO,
    regionInfoRequest,
    regionInfoReply,
    {
      reply: MAX_MSG_FDS,
    },
  ),
  [Command.DEVICE_GET_REGION_IO_FDS]: message(
    Command.DEVICE_GET_REGION_IO_FDS,
    regionIoFdsRequest,
    regionIoFdsReply,
    { reply: MAX_MSG_FDS },
  ),
  [Command.DEVICE_GET_IRQ_INFO]: message(Command.DEVICE_GET_IRQ_INFO, irqInfoRequest, irqInfoReply),
  [Command.DEVICE_SET_IRQS]: message(Command.DEVICE_SET_IRQS, setIrqsRequest, emptyPayload, {
    request: MAX_MSG_FDS,
  }),
  [Command.REGION_READ]: message(Command.REGION_READ, regionReadRequest, regionReadReply),
  [Command.REGION_WRITE]: message(Command.REGION_WRITE, regionWriteRequest, regionWriteReply),
  [Command.DMA_READ]: message(Command.DMA_READ, dmaReadRequest, dmaReadReply),
  [Command.DMA_WRITE]: message(Command.DMA_WRITE, dmaWriteRequest, dmaWriteReply),
  [Command.DEVICE_RESET]: message(Command.DEVICE_RESET, emptyPayload, emptyPayload),
  [Command.REGION_WRITE_MULTI]: message(
    Command.REGION_WRITE_MULTI,
    regionWriteMultiRequest,
    regionWriteMultiReply,
  ),
  [Command.DEVICE_FEATURE]: message(Command.DEVICE_FEATURE, deviceFeatureRequest, deviceFeatureReply),
  [Command.MIG_DATA_READ]: message(Command.MIG_DATA_READ, migDataReadRequest, migDataReadReply),
  [Command.MIG_DATA_WRITE]: message(Command.MIG_DATA_WRITE, migDataWriteRequest, migDataWriteReply),
};

function message<Request, Reply>(
  command: number,
  request: Codec<Request>,
  reply: Codec<Reply>,
  descriptors: { readonly request?: number; readonly reply?: number } = {},
): Message {
  return {
    name: commandName(command),
    from: command === Command.DMA_READ || command === Command.DMA_WRITE ? 'server' : 'client',
    request: request as Codec<unknown>,
    reply: reply as Codec<unknown>,
    maxRequestDescriptors: descriptors.request ?? 0,
    maxReplyDescriptors: descriptors.reply ?? 0,
  };
}
