/**
 * The register set: offsets, fields, what software may write (VT-d 11.4).
 *
 * 64-bit registers are two 32-bit words; a field constant names the word it belongs to when that is not word 0 by
 * ending in `_HI`.
 *
 * @module
 */

import { bit, mask } from '../../layout.ts';

/** Bytes of the register set that one remapping unit occupies (VT-d 11.4: 4 KiB aligned). */
export const REGISTER_SET_BYTES = 4096;

/** Version (VT-d 11.4.1), 32 bits. */
export const VER_REG = 0x00;
/** Capability (VT-d 11.4.2), 64 bits; fields in capability-registers.ts. */
export const CAP_REG = 0x08;
/** Extended Capability (VT-d 11.4.3), 64 bits; fields in capability-registers.ts. */
export const ECAP_REG = 0x10;
/** Global Command (VT-d 11.4.4.1), 32 bits, write-only. */
export const GCMD_REG = 0x18;
/** Global Status (VT-d 11.4.4.2), 32 bits, read-only. */
export const GSTS_REG = 0x1c;
/** Root Table Address (VT-d 11.4.5), 64 bits. */
export const RTADDR_REG = 0x20;
/** Context Command (VT-d 11.4.6.1), 64 bits. */
export const CCMD_REG = 0x28;
/** Fault Status (VT-d 11.4.7.1), 32 bits. */
export const FSTS_REG = 0x34;
/** Fault Event Control (VT-d 11.4.7.2), 32 bits. */
export const FECTL_REG = 0x38;
/** Fault Event Data (VT-d 11.4.7.3), 32 bits. */
export const FEDATA_REG = 0x3c;
/** Fault Event Address (VT-d 11.4.7.4), 32 bits. */
export const FEADDR_REG = 0x40;
/** Fault Event Upper Address (VT-d 11.4.7.5), 32 bits. */
export const FEUADDR_REG = 0x44;
/** Protected Memory Enable (VT-d 11.4.8.1), 32 bits. */
export const PMEN_REG = 0x64;
/** Protected Low-Memory Base (VT-d 11.4.8.2), 32 bits. */
export const PLMBASE_REG = 0x68;
/** Protected Low-Memory Limit (VT-d 11.4.8.3), 32 bits. */
export const PLMLIMIT_REG = 0x6c;
/** Protected High-Memory Base (VT-d 11.4.8.4), 64 bits. */
export const PHMBASE_REG = 0x70;
/** Protected High-Memory Limit (VT-d 11.4.8.5), 64 bits. */
export const PHMLIMIT_REG = 0x78;
/** Invalidation Queue Head (VT-d 11.4.9.1), 64 bits. */
export const IQH_REG = 0x80;
/** Invalidation Queue Tail (VT-d 11.4.9.2), 64 bits. */
export const IQT_REG = 0x88;
/** Invalidation Queue Address (VT-d 11.4.9.3), 64 bits. */
export const IQA_REG = 0x90;
/** Invalidation Completion Status (VT-d 11.4.9.4), 32 bits. */
export const ICS_REG = 0x9c;
/** Invalidation Event Control (VT-d 11.4.9.5), 32 bits. */
export const IECTL_REG = 0xa0;
/** Invalidation Event Data (VT-d 11.4.9.6), 32 bits. */
export const IEDATA_REG = 0xa4;
/** Invalidation Event Address (VT-d 11.4.9.7), 32 bits. */
export const IEADDR_REG = 0xa8;
/** Invalidation Event Upper Address (VT-d 11.4.9.8), 32 bits. */
export const IEUADDR_REG = 0xac;
/** Invalidation Queue Error Record (VT-d 11.4.9.9), 64 bits. */
export const IQERCD_REG = 0xb0;
/** Interrupt Remapping Table Address (VT-d 11.4.10), 64 bits. */
export const IRTA_REG = 0xb8;
/** Invalidate Address (VT-d 11.4.6.3), 64 bits, counted from ECAP_REG.IRO * 16. */
export const IVA_REG = 0x00;
/** IOTLB Invalidate (VT-d 11.4.6.2), 64 bits, counted from ECAP_REG.IRO * 16. */
export const IOTLB_REG = 0x08;
/** Bytes of one Fault Recording register (VT-d 11.4.7.6); they start at CAP_REG.FRO * 16. */
export const FRCD_BYTES = 16;

/** VER_REG.MIN and MAX: the minor and the major version. */
export const VER_MIN: number = mask(3, 0);
export const VER_MAX: number = mask(7, 4);
/** Shift of VER_REG.MAX. */
export const VER_MAX_SHIFT = 4;

/** GCMD_REG and GSTS_REG use the same positions: a command and the status that acknowledges it. */
export const GCMD_TE: number = bit(31);
export const GCMD_SRTP: number = bit(30);
export const GCMD_SFL: number = bit(29);
export const GCMD_EAFL: number = bit(28);
export const GCMD_WBF: number = bit(27);
export const GCMD_QIE: number = bit(26);
export const GCMD_IRE: number = bit(25);
export const GCMD_SIRTP: number = bit(24);
export const GCMD_CFI: number = bit(23);
export const GSTS_TES: number = GCMD_TE;
export const GSTS_RTPS: number = GCMD_SRTP;
export const GSTS_FLS: number = GCMD_SFL;
export const GSTS_AFLS: number = GCMD_EAFL;
export const GSTS_WBFS: number = GCMD_WBF;
export const GSTS_QIES: number = GCMD_QIE;
export const GSTS_IRES: number = GCMD_IRE;
export const GSTS_IRTPS: number = GCMD_SIRTP;
export const GSTS_CFIS: number = GCMD_CFI;
/** Commands that act once each time they are written as one (VT-d 11.4.4.1); zero there means nothing. */
export const GCMD_ONE_SHOT: number = (GCMD_SRTP | GCMD_SFL | GCMD_WBF | GCMD_SIRTP) >>> 0;
/** Commands whose written value is the wanted state (VT-d 11.4.4.1). */
export const GCMD_STATE: number = (GCMD_TE | GCMD_EAFL | GCMD_QIE | GCMD_IRE | GCMD_CFI) >>> 0;

/** RTADDR_REG.TTM: Translation Table Mode; the field and its shift. */
export const RTADDR_TTM: number = mask(11, 10);
export const RTADDR_TTM_SHIFT = 10;
/** TTM 00: legacy mode. */
export const TTM_LEGACY = 0;
/** TTM 01: scalable mode. */
export const TTM_SCALABLE = 1;
/** TTM 10: reserved. */
export const TTM_RESERVED = 2;
/** TTM 11: abort-DMA mode (ECAP_REG.ADMS). */
export const TTM_ABORT_DMA = 3;

/** CCMD_REG low word: DID, SID. */
export const CCMD_DID: number = mask(15, 0);
export const CCMD_SID: number = mask(31, 16);
export const CCMD_SID_SHIFT = 16;
/** CCMD_REG high word: FM, CAIG (read-only), CIRG, ICC; the granularities are in invalidation.ts. */
export const CCMD_FM_HI: number = mask(1, 0);
export const CCMD_CAIG_HI: number = mask(28, 27);
export const CCMD_CAIG_SHIFT_HI = 27;
export const CCMD_CIRG_HI: number = mask(30, 29);
export const CCMD_CIRG_SHIFT_HI = 29;
export const CCMD_ICC_HI: number = bit(31);

/** IOTLB_REG high word: DID, DW, DR, IAIG (read-only), IIRG, IVT; the granularities are in invalidation.ts. */
export const IOTLB_DID_HI: number = mask(15, 0);
export const IOTLB_DW_HI: number = bit(16);
export const IOTLB_DR_HI: number = bit(17);
export const IOTLB_IAIG_HI: number = mask(26, 25);
export const IOTLB_IAIG_SHIFT_HI = 25;
export const IOTLB_IIRG_HI: number = mask(29, 28);
export const IOTLB_IIRG_SHIFT_HI = 28;
export const IOTLB_IVT_HI: number = bit(31);
/** IVA_REG low word: AM (log2 of the pages), IH (only leaf entries changed); the page number is bits 63:12. */
export const IVA_AM: number = mask(5, 0);
export const IVA_IH: number = bit(6);

/** FSTS_REG: PFO Primary Fault Overflow. */
export const FSTS_PFO: number = bit(0);
/** FSTS_REG: PPF Primary Pending Fault, read-only: the OR of every FRCD F. */
export const FSTS_PPF: number = bit(1);
/** FSTS_REG: AFO and APF belong to advanced fault logging (CAP_REG.AFL). */
export const FSTS_AFO: number = bit(2);
export const FSTS_APF: number = bit(3);
/** FSTS_REG: IQE Invalidation Queue Error. */
export const FSTS_IQE: number = bit(4);
/** FSTS_REG: ICE Invalidation Completion Error. */
export const FSTS_ICE: number = bit(5);
/** FSTS_REG: ITE Invalidation Time-out Error. */
export const FSTS_ITE: number = bit(6);
/** FSTS_REG: FRI Fault Record Index, valid while PPF is set, read-only. */
export const FSTS_FRI: number = mask(15, 8);
export const FSTS_FRI_SHIFT = 8;

/** FECTL_REG and IECTL_REG: IM Interrupt Mask (set at reset), IP Interrupt Pending (read-only). */
export const EVENT_IM: number = bit(31);
export const EVENT_IP: number = bit(30);

/** PMEN_REG: EPM Enable Protected Memory, PRS Protected Region Status (read-only). */
export const PMEN_EPM: number = bit(31);
export const PMEN_PRS: number = bit(0);
/**
 * Alignment of protected regions as a power of two: 2 MiB. The specification leaves it to the implementation; software
 * learns it by writing all ones. Bits below it read as zero and count as ones in a limit (VT-d 11.4.8.2 to 11.4.8.5).
 */
export const PMR_ALIGN_SHIFT = 21;

/** IQH_REG.QH and IQT_REG.QT: byte offsets into the queue. */
export const IQ_OFFSET: number = mask(18, 4);
/** IQT_REG bit 4: must be zero when descriptors are 256 bits wide. */
export const IQT_MISALIGNED: number = bit(4);
/** IQA_REG: QS Queue Size (2^QS pages), DW Descriptor Width (set: 256 bits); the base page is bits 63:12. */
export const IQA_QS: number = mask(2, 0);
export const IQA_DW: number = bit(11);
/** ICS_REG.IWC: an Invalidation Wait descriptor with IF completed. */
export const ICS_IWC: number = bit(0);
/** IQERCD_REG low word: IQEI; high word: ITESID, ICESID. The codes of IQEI are in invalidation.ts. */
export const IQERCD_IQEI: number = mask(3, 0);
export const IQERCD_ITESID_HI: number = mask(15, 0);
export const IQERCD_ICESID_HI: number = mask(31, 16);
export const IQERCD_ICESID_SHIFT_HI = 16;
/** IRTA_REG: S Size (2^(S+1) entries), EIME Extended Interrupt Mode Enable. */
export const IRTA_S: number = mask(3, 0);
export const IRTA_EIME: number = bit(11);
