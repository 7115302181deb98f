--- Keys of ghost text, in insert mode. All but `suggest` are mapped only while ghost text is shown,
--- so that they do what they did at all other times, without any help of ours.

local config = require('ingle.config')

local M = {}

--- What each key does; false means that there was nothing to do it with.
local actions = {
  accept = function()
    return require('ingle.ghost').accept('all')
  end,
  accept_word = function()
    return require('ingle.ghost').accept('word')
  end,
  accept_line = function()
    return require('ingle.ghost').accept('line')
  end,
  next = function()
    return require('ingle.ghost').cycle(1)
  end,
  previous = function()
    return require('ingle.ghost').cycle(-1)
  end,
  dismiss = function()
    return require('ingle.ghost').dismiss()
  end,
}

local SIGN = 'ingle: '

--- By buffer: the mappings that ours took the place of, by key; false where there was none.
local replaced = {}

local function raw(key)
  return vim.api.nvim_replace_termcodes(key, true, true, true)
end

--- The buffer's own mapping of a key.
local function buffer_mapping(buffer, key)
  for _, mapping in ipairs(vim.api.nvim_buf_get_keymap(buffer, 'i')) do
    if raw(mapping.lhs) == raw(key) then
      -- Neovim 0.7 has no `mapset` to give this to, and hides functions in it.
      return vim.fn.exists('*mapset') == 0 and mapping
        or vim.api.nvim_buf_call(buffer, function()
          return vim.fn.maparg(key, 'i', false, true)
        end)
    end
  end
end

local function is_ours(mapping)
  return mapping ~= nil and vim.startswith(mapping.desc or '', SIGN)
end

--- A default key is not taken from a user who has a use for it; <Tab>, and what was chosen, is.
local function is_taken(name, key)
  if name == 'accept' or config.chosen_keys[name] then
    return false
  end
  local mapping = vim.fn.maparg(key, 'i', false, true)
  return not vim.tbl_isempty(mapping) and not is_ours(mapping)
end

local function restore(buffer, key, mapping)
  if vim.fn.exists('*mapset') == 1 then
    vim.api.nvim_buf_call(buffer, function()
      vim.fn.mapset('i', false, mapping)
    end)
    return
  end
  -- A script's own functions are named by its number in what is restored.
  local rhs = (mapping.rhs or ''):gsub('<SID>', ('<SNR>%d_'):format(mapping.sid or 0))
  vim.api.nvim_buf_set_keymap(buffer, 'i', key, rhs, {
    callback = mapping.callback,
    desc = mapping.desc,
    expr = mapping.expr == 1,
    noremap = mapping.noremap == 1,
    nowait = mapping.nowait == 1,
    script = mapping.script == 1,
    silent = mapping.silent == 1,
  })
end

--- Map the keys.
---@param buffer integer
function M.arm(buffer)
  if replaced[buffer] then
    return
  end
  local mine = {}
  replaced[buffer] = mine
  for name, action in pairs(actions) do
    local key = config.options.keys[name]
    if key and not is_taken(name, key) then
      local before = buffer_mapping(buffer, key)
      mine[key] = before or false
      vim.api.nvim_buf_set_keymap(buffer, 'i', key, '', {
        desc = SIGN .. name:gsub('_', ' '),
        noremap = true,
        nowait = true,
        callback = function()
          if not action() then
            M.disarm(buffer)
            vim.api.nvim_feedkeys(raw(key), 'm', false)
          end
        end,
      })
    end
  end
end

--- Take the mappings away, and put back those that were there.
---@param buffer integer
function M.disarm(buffer)
  local mine = replaced[buffer]
  replaced[buffer] = nil
  for key, before in pairs(mine or {}) do
    -- Another plugin may have mapped it meanwhile.
    if is_ours(buffer_mapping(buffer, key)) then
      vim.api.nvim_buf_del_keymap(buffer, 'i', key)
      if before then
        restore(buffer, key, before)
      end
    end
  end
end

--- The key that asks for suggestions; mapped in all buffers that have them.
---@param buffer integer
function M.map_suggest(buffer)
  local key = config.options.keys.suggest
  if key and not is_taken('suggest', key) then
    vim.api.nvim_buf_set_keymap(buffer, 'i', key, '', {
      desc = SIGN .. 'suggest',
      noremap = true,
      callback = function()
        require('ingle.ghost').suggest()
      end,
    })
  end
end

return M
