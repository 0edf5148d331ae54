// STM32F4 under the Arduino core, PDM microphones on I2S2: the bits are received like words of 16,
// DMA fills a ring of two halves, and an interrupt decimates the full one by 64 (serq_audio_pdm).
#include <Arduino.h>

#include "audio.h"
#include "serq_board.h"

#if !defined(STM32F4xx)
#error "this driver knows the STM32 family F4"
#endif

enum { WORDS = 512, WORDS_PER_SAMPLE = 4 }; // of a half: 8 ms at 16 kHz

static uint16_t halves[2][WORDS];
static I2S_HandleTypeDef i2s;
static DMA_HandleTypeDef dma;

extern "C" void HAL_I2S_RxHalfCpltCallback(I2S_HandleTypeDef *)
{
    audio_take_pdm(halves[0], WORDS);
}

extern "C" void HAL_I2S_RxCpltCallback(I2S_HandleTypeDef *)
{
    audio_take_pdm(halves[1], WORDS);
}

extern "C" void DMA1_Stream3_IRQHandler(void)
{
    HAL_DMA_IRQHandler(&dma);
}

static bool set_up_clock()
{
    RCC_PeriphCLKInitTypeDef clocks = {};
    // 1 MHz x 213 / 2: 32001 words of two slots a second, RM0090 table 127
    clocks.PeriphClockSelection = RCC_PERIPHCLK_I2S;
    clocks.PLLI2S.PLLI2SN = 213;
    clocks.PLLI2S.PLLI2SR = 2;
    return HAL_RCCEx_PeriphCLKConfig(&clocks) == HAL_OK;
}

static bool set_up_dma()
{
    __HAL_RCC_DMA1_CLK_ENABLE();
    dma.Instance = DMA1_Stream3;
    dma.Init.Channel = DMA_CHANNEL_0;
    dma.Init.Direction = DMA_PERIPH_TO_MEMORY;
    dma.Init.PeriphInc = DMA_PINC_DISABLE;
    dma.Init.MemInc = DMA_MINC_ENABLE;
    dma.Init.PeriphDataAlignment = DMA_PDATAALIGN_HALFWORD;
    dma.Init.MemDataAlignment = DMA_MDATAALIGN_HALFWORD;
    dma.Init.Mode = DMA_CIRCULAR;
    dma.Init.Priority = DMA_PRIORITY_HIGH;
    dma.Init.FIFOMode = DMA_FIFOMODE_DISABLE;
    if (HAL_DMA_Init(&dma) != HAL_OK) {
        return false;
    }
    __HAL_LINKDMA(&i2s, hdmarx, dma);
    HAL_NVIC_SetPriority(DMA1_Stream3_IRQn, 5, 0);
    HAL_NVIC_EnableIRQ(DMA1_Stream3_IRQn);
    return true;
}

static bool set_up_i2s()
{
    __HAL_RCC_SPI2_CLK_ENABLE();
    pin_function(digitalPinToPinName(SERQ_AUDIO_PDM_CLOCK),
                 STM_PIN_DATA(STM_MODE_AF_PP, GPIO_NOPULL, GPIO_AF5_SPI2));
    pin_function(digitalPinToPinName(SERQ_AUDIO_PDM_DATA),
                 STM_PIN_DATA(STM_MODE_AF_PP, GPIO_NOPULL, GPIO_AF5_SPI2));
    i2s.Instance = SPI2;
    i2s.Init.Mode = I2S_MODE_MASTER_RX;
    i2s.Init.Standard = I2S_STANDARD_LSB;
    i2s.Init.DataFormat = I2S_DATAFORMAT_16B;
    i2s.Init.MCLKOutput = I2S_MCLKOUTPUT_DISABLE;
    i2s.Init.AudioFreq = SERQ_AUDIO_RATE * WORDS_PER_SAMPLE / 2; // of pairs of words
    i2s.Init.CPOL = I2S_CPOL_HIGH;
    i2s.Init.ClockSource = I2S_CLOCK_PLL;
    i2s.Init.FullDuplexMode = I2S_FULLDUPLEXMODE_DISABLE;
    return HAL_I2S_Init(&i2s) == HAL_OK &&
           HAL_I2S_Receive_DMA(&i2s, halves[0], 2 * WORDS) == HAL_OK;
}

bool audio_start(void)
{
    return set_up_clock() && set_up_dma() && set_up_i2s();
}
