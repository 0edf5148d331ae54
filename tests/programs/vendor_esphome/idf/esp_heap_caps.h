/* What headers of ESPHome 2026.6.5 use of ESP-IDF 5.5 where this component includes them, to parse them here. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#define MALLOC_CAP_8BIT 4
#define MALLOC_CAP_INTERNAL 2048
#define MALLOC_CAP_SPIRAM 1024
extern "C" { size_t heap_caps_get_free_size(uint32_t); size_t heap_caps_get_largest_free_block(uint32_t); void *heap_caps_malloc_prefer(size_t, size_t, ...); void *heap_caps_realloc_prefer(void *, size_t, size_t, ...); void *heap_caps_calloc_prefer(size_t, size_t, size_t, ...); void *heap_caps_malloc(size_t, uint32_t); void *heap_caps_realloc(void *, size_t, uint32_t); void heap_caps_free(void *);}
