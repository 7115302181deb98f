--- Ghost text by Neovim 0.12 itself (`:help vim.lsp.inline_completion`), for those who set
--- `ghost_text = 'builtin'`. Neovim asks, draws and accepts; the keys are ours.
---
--- Nothing tells when it shows something, so <Tab> is mapped all the time here, and does what it
--- did when there was nothing to accept.

local compat = require('ingle.compat')
local config = require('ingle.config')

local M = {}

--- What a mapping would have typed.
local function result_of(mapping, key)
  if mapping.callback then
    local result = mapping.callback()
    return mapping.expr == 1 and result or ''
  elseif mapping.rhs and mapping.rhs ~= '' then
    return mapping.expr == 1 and vim.api.nvim_eval(mapping.rhs) or mapping.rhs
  end
  return key
end

--- Let Neovim draw in all buffers of our client.
---@param buffer integer
---@param client_id integer
function M.attach(buffer, client_id)
  local builtin = compat.builtin_inline_completion()
  builtin.enable(true, { client_id = client_id })
  local keys = config.options.keys
  if keys.accept then
    local before = vim.fn.maparg(keys.accept, 'i', false, true)
    vim.keymap.set('i', keys.accept, function()
      if builtin.get({ bufnr = buffer }) then
        return ''
      end
      return result_of(before, keys.accept)
    end, {
      buffer = buffer,
      expr = true,
      -- What the key itself stands for is never looked up again, so this does not go in circles.
      remap = before.noremap == 0,
      desc = 'ingle: accept',
    })
  end
  for name, step in pairs({ next = 1, previous = -1 }) do
    if keys[name] then
      vim.keymap.set('i', keys[name], function()
        builtin.select({ bufnr = buffer, count = step })
      end, { buffer = buffer, desc = 'ingle: ' .. name })
    end
  end
end

--- Keep it from drawing our suggestions a second time.
---@param client_id integer
function M.stand_down(client_id)
  local builtin = compat.builtin_inline_completion()
  if builtin then
    builtin.enable(false, { client_id = client_id })
  end
end

return M
